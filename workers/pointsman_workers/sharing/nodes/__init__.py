"""Nodes of other instances used from here, and our nodes used from there."""
