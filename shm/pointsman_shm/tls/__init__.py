"""The TLS port of a service: its section of the configuration, its files."""
