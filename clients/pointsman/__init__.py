"""Pointsman: the public API for nodes and clients."""
