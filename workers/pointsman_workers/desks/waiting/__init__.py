"""Jobs that wait: which may, who gets a free slot, and what is given up under overload."""
