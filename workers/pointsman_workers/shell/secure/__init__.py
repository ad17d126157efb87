"""The TLS port of a worker: handshakes, and what is said in them."""
