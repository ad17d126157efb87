"""A script, what it works on and what it is given; pure."""

from typing import NamedTuple

from pointsman_wire.coordination.keys import Keys
from pointsman_wire.coordination.terms import Terms

Value = str | bytes | int


class Call(NamedTuple):
    """A script, the names it works on (all in one slot) and its values."""

    script: str
    keys: list[str]
    values: list[Value]


class Site(NamedTuple):
    """Where calls are made: whose keys, on which terms, in which reign."""

    keys: Keys
    terms: Terms
    reign: str
