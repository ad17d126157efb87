"""Dead letters of the inboxes over which instances speak: looked at, sent in again, dropped."""
