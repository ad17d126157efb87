"""TLS on our connections: contexts, pins, certificates of nodes."""
