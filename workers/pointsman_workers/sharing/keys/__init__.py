"""Request keys that are bound for the whole fleet: one key gives one job, wherever it is asked."""
