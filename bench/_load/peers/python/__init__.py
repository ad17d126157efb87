"""Peers that are Python libraries, and what loads them."""
