"""Structs whose fields are set past msgspec's setter."""

import gc

import msgspec
import pytest

from pointsman_workers.core.state import Hold, Job, Lane, Peer, Session
from pointsman_workers.fields import plainly_set
from pointsman_workers.placement.kinds import Kind
from pointsman_workers.placement.trail import Decided, Sample
from pointsman_workers.sharing.keys.bond import Bond

PLAIN = [Bond, Decided, Hold, Job, Kind, Lane, Peer, Sample, Session]


@plainly_set
class Thing(msgspec.Struct, gc=False):
    """One with a field."""

    size: int = 0


@pytest.mark.parametrize("struct", PLAIN, ids=lambda struct: struct.__name__)
def test_a_struct_that_is_set_plainly_is_seen_by_the_collector_at_once_or_never(
    struct: type[msgspec.Struct],
) -> None:
    config = struct.__struct_config__
    assert not config.frozen
    assert "__setattr__" in vars(struct), "it is not set plainly: take it off the list"
    if config.gc:
        assert gc.is_tracked(_made_of_atoms(struct)), struct


def _made_of_atoms(struct: type[msgspec.Struct]) -> msgspec.Struct:
    """Make one with nothing in it that the collector has to look at but what it makes itself."""
    names, defaults = struct.__struct_fields__, struct.__struct_defaults__
    first, rest = names[: len(names) - len(defaults)], names[len(names) - len(defaults) :]
    required = [n for n, value in zip(rest, defaults, strict=True) if value is msgspec.NODEFAULT]
    return struct(**dict.fromkeys((*first, *required), 0))


def test_a_field_that_a_struct_lacks_is_not_set() -> None:
    thing = Thing()
    with pytest.raises(AttributeError):
        thing.weight = 1  # type: ignore[attr-defined]


def test_a_struct_that_is_set_plainly_is_copied_and_encoded_as_others() -> None:
    thing = Thing()
    thing.size = 3
    copy = msgspec.structs.replace(thing)
    copy.size += 1
    assert (thing, copy, msgspec.json.encode(copy)) == (Thing(3), Thing(4), b'{"size":4}')
