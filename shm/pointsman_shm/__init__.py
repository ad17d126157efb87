"""What the processes of a host share: memory layouts, snapshot, config, pure rules."""
