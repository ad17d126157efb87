"""The one thing about Redis that ends a start."""


class RedisUnfit(Exception):
    """Redis must not be used as it is; the message says what to do."""
