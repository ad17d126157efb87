"""The way of operators into a worker."""
