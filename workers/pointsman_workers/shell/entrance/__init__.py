"""How this worker learns which tokens of clients count."""
