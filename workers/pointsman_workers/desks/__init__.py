"""The desks of a shard: what happens to sessions, submits, placements, outcomes and lanes."""
