"""Processes that benches start: load generators, and the floor; each ends with its parent."""
