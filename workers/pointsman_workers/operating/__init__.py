"""What operators see of a worker's jobs, and what they order."""
