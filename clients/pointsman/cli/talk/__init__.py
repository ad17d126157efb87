"""`talk`: a conversation from a terminal."""
