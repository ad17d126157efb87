"""The management process: segments, sockets and files around the registry core."""
