"""What people say to each other through a session: utterances, sound, events and rooms."""
