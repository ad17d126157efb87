"""The node's pure core: what it is told, what it wishes, and how it decides."""
