"""Choosing a node: the reading view of the fleet, selection, refusals."""
