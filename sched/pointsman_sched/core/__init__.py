"""The registry core: who is in the fleet and how each node is; pure, told facts and the time."""
