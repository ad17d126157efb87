"""What the owner of a machine wants of it: when its node shall take no new jobs."""
