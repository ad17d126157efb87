"""People who talk, for users: what is said, what is heard, and rooms."""
