"""Commands that keep a state directory: back it up, restore it."""
