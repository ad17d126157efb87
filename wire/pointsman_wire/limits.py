"""Bounds that both ends of a connection hold, before anything is allocated."""

PROTOCOL_VERSION = 1

FRAME_BYTES_MAX = 2 * 1024 * 1024
PAYLOAD_BYTES_MAX = 1024 * 1024
HEADER_BYTES_MAX = FRAME_BYTES_MAX - PAYLOAD_BYTES_MAX
# What is passed on grows by what is added to it: so less is taken in than may be sent on.
HEADER_TAKEN_BYTES_MAX = 896 * 1024
HANDSHAKE_BYTES_MAX = 16 * 1024
# A register carries everything a node can do; so it alone may be longer.
REGISTER_BYTES_MAX = 64 * 1024

HANDSHAKE_TIMEOUT_S = 5.0
FRAME_ARRIVAL_TIMEOUT_S = 10.0

NODE_ID_LENGTH_MAX = 64
SESSION_ID_LENGTH_MAX = 128
REQUEST_ID_LENGTH_MAX = 128
MAX_CONCURRENCY_MAX = 4096
# What runs on a node, and results that it holds; a worker counts the slots of a node in 16 bits.
REPORTED_MAX = 4 * MAX_CONCURRENCY_MAX
WORKERS_MAX = 64
PAGE_LINES_MAX = 1_000
