"""Tokens on the command line: given out, listed, revoked, and read where one is shown."""
