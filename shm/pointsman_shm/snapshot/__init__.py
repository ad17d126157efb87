"""The runtime snapshot: what its pages hold, how it is decoded, and the indexes over it."""
