"""Load generators for the peers: they batch like ours, in the protocol of each."""
