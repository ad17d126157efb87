"""What crosses sockets: framing, messages, error codes."""
