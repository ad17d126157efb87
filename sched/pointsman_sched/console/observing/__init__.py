"""What the console tells of the whole service: metrics and health, from shared memory."""
