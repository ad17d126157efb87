"""The processes of a cluster: the real cores, and around each what its shell would do."""
