"""TLS on the client side: whom to believe, and who a node is."""
