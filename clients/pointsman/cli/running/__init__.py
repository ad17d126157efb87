"""Programs that commands start for jobs, and as whom; those of the service that they become."""
