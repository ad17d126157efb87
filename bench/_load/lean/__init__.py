"""Nodes by the thousand in one process: raw frames over epoll."""
