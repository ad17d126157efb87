"""As whom the programs of a node run, and what they are told."""
