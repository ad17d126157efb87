"""A live view of a service: looked at once a second, drawn anew in place."""
