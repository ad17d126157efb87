"""How a node joins: what it declares, who it is, and what can refuse it."""
