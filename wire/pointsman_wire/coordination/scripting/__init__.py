"""Requests as calls of Lua scripts, and what comes back as answers."""
