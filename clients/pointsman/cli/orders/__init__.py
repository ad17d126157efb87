"""Commands that change something in a running service, or would."""
