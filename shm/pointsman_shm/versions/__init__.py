"""What tells one version of the service from another: forms of files and of shared memory."""
