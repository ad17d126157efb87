"""What a worker does on the network to share a fleet with other instances."""
