"""The supervisor: starts the processes of one service, restarts dead ones, cleans up after them."""
