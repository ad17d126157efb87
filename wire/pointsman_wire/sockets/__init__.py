"""Real sockets under the cores: the driver, connections, hand-over, unix sockets of a host."""
