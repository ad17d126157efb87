"""Around the worker core: the sockets, files, segments and signals of its process."""
