"""What an operator wants done: each order is an event, its outcome a command."""
