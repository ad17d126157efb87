"""What the admin API gives out and takes back: introductions of nodes, tokens of clients."""
