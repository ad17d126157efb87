"""Descriptors: how many of those that a process may have its connections may take.

A process without a descriptor can neither accept nor open its journal, its log or an admin
connection.  So connections end well before: at a share of the limit, with some kept in any case.
"""

import resource

# For journals, Redis and admin connections, where the limit is large enough to have them.
RESERVED_MAX = 2_000
RESERVED_PERCENT = 20
# What every process has open all the time: segments, logs, unix sockets, the listening socket.
OWN = 32


def connections_max(descriptors: int, percent: int) -> int:
    """Return how many connections a process with so many descriptors may have, at least 1."""
    share = descriptors * percent // 100 - OWN
    reserved = min(RESERVED_MAX, descriptors * RESERVED_PERCENT // 100)
    return max(1, min(share, descriptors - reserved))


def take_descriptors(percent: int) -> int:
    """Take all descriptors that this process may have; return how many connections may be."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return connections_max(hard, percent)
