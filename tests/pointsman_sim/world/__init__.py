"""What processes live in: time, chance, the network, memory, and the process itself."""
