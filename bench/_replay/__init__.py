"""Arrivals replayed on a virtual clock: on the real worker core, and on simpler ways to choose."""
