"""The dashboard: one look a second at the whole service, and everybody who wants to see it."""
