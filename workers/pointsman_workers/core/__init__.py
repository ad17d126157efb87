"""The dispatcher core: frames in, frames out, no clock and no sockets."""
