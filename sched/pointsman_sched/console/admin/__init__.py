"""The admin API: what operators see and order, over HTTP, translated to the admin sockets."""
