"""WebSocket sessions: the same messages as on a binary connection, as JSON."""
