"""Reaching the right server: where it is, whether it will do, whether it answers."""
