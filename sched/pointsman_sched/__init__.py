"""The management process, the supervisor, and the processes they start."""
