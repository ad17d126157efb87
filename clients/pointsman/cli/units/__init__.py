"""`systemd` and `node install`: processes as units of systemd."""
