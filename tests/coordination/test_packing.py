"""The calls of every job are written in one go: the same bytes as packed word by word."""

import pytest
from coordination.asking import ALICE, BOB, KEY, bind
from msgspec.structs import replace

from pointsman_wire.coordination.keys import Keys
from pointsman_wire.coordination.requests import End, Request, Seen, Touch
from pointsman_wire.coordination.scripting import packing
from pointsman_wire.coordination.scripting.call import Site
from pointsman_wire.coordination.scripting.calls import encode
from pointsman_wire.coordination.scripting.packing import Packer, pack_call
from pointsman_wire.coordination.terms import Terms

SITE = Site(Keys("fleet-ü"), Terms(45_000, 10_000), "90ed07c62a375b7f")
SEEN = Seen("90ed07c62a375b7f:5f1c", 1_234)
BIND = bind(seen=SEEN)
END = End(number=11, key=KEY, owner=ALICE, fence=(1 << 32) + 7, ok=True, keep_s=300.0, seen=SEEN)
FOREIGN = KEY._replace(session_id="Sitzung ü", request_id="запрос\n1")
REQUESTS: dict[str, Request] = {
    "bind": BIND,
    "bind that expects nothing": bind(),
    "bind with what another owner would need": replace(BIND, keep=b"\x00\r\n" * 100),
    "bind by another owner": replace(BIND, owner=BOB),
    "bind of a foreign key": replace(BIND, key=FOREIGN),
    "bind to a job of a strange name": replace(BIND, job_id="Auftrag ü"),
    "bind to a job of a long name": replace(BIND, job_id="j" * 64),
    "bind in a strange generation": replace(BIND, seen=Seen("Geschlecht ü", 1)),
    "end": END,
    "end of a failure": replace(END, ok=False, keep_s=0.0),
    "end with a result": replace(END, result=b"\xff\r\n"),
    "end with an empty result": replace(END, result=b""),
    "end in a long generation": replace(END, seen=Seen("g" * 64, 1)),
    "end whose slot is not free": replace(END, released=False),
    "end in a strange generation": replace(END, seen=Seen("Geschlecht ü", 1)),
    "touch": Touch(number=12, bucket=7, owner=ALICE),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_written_as_it_would_be_packed_word_by_word(name: str) -> None:
    request = REQUESTS[name]
    packer = Packer(SITE)
    for before in (BIND, request):  # whatever it has learned from others, and from the same one
        packer.pack(before)
        assert packer.pack(request) == pack_call(encode(request, SITE))


def test_names_are_kept_from_the_bind_to_the_end_and_never_without_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(packing, "NAMES_MAX", 10)
    packer = Packer(SITE)
    keys = [KEY._replace(request_id=f"r-{number}") for number in range(20)]
    for key in keys:
        packer.pack(replace(BIND, key=key))
    assert len(packer._names) == 10
    for key in keys:
        end = replace(END, key=key)
        assert packer.pack(end) == pack_call(encode(end, SITE))
    assert not packer._names


def test_a_fence_that_lua_cannot_count_is_a_bug_of_ours() -> None:
    with pytest.raises(AssertionError, match="does not fit into a Lua number"):
        Packer(SITE).pack(replace(BIND, fence=1 << 53))
