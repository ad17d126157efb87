"""Coordination of several instances: what is asked, what answers, and how to reach Redis."""
