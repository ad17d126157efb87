"""What a server process says of itself: one line an event, sampled, and never waited for."""
