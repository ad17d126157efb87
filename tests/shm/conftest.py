"""Puts this folder on the path: what the tests of shared memory have in common lies here."""
