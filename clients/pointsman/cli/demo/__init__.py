"""`pointsman demo`: the whole service on real speech, from start to clean end, in a minute."""
