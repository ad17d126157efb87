"""What is asked and ordered on admin sockets, beyond how a process fares."""
