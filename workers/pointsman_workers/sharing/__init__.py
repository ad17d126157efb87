"""What a worker shares with the other instances of its fleet; pure, like all of the core."""
