"""`rolling-restart`: every process of a running service restarted, one after another."""
