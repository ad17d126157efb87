"""A process as a unit of systemd."""
