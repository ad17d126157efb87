"""Pools, and jobs that have not ended: asked over admin sockets, shown in tables."""
