"""The journal of a shard: what it has accepted, on disk before anybody hears of it."""
