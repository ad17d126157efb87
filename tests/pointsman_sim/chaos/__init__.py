"""Faults against a throw-away service of real processes, and the history checker's verdict."""
