"""Counts what a job costs a worker where time says nothing: instructions, calls of the system."""
