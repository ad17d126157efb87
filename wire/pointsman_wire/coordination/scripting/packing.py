"""Requests as the bytes that Redis reads.

The two that every job needs are written in one go, with what is the same for all of them made
once; the others are packed from the calls that `calls.encode` makes.  A test holds both ways
against each other.
"""

from typing import cast

from pointsman_wire.coordination.keys import BUCKET_COUNT, place_of
from pointsman_wire.coordination.requests import FENCE_MAX, Bind, End, Owner, Request, RequestKey
from pointsman_wire.coordination.scripting.call import Call, Site
from pointsman_wire.coordination.scripting.calls import encode, milliseconds, owner_text
from pointsman_wire.coordination.scripting.files import SCRIPT_FILES
from pointsman_wire.coordination.scripting.resp import pack

DIGEST = "\0" * 32  # stands for one
NAMES_MAX = 10_000  # of requests whose end has not come yet
_NOTHING = b"$0\r\n\r\n"
_NO_RESULT = b"$1\r\n0\r\n$0\r\n\r\n"


def pack_call(call: Call) -> bytes:
    """The command that runs a script."""
    sha = SCRIPT_FILES[call.script].sha
    return pack(("EVALSHA", sha, len(call.keys), *call.keys, *call.values))


def _word(text: str) -> str:
    return f"${len(text.encode())}\r\n{text}\r\n"


def _blob(blob: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(blob), blob)


def _head(script: str, key_count: int, value_count: int) -> str:
    """How a command begins that runs this script, with so many names and values."""
    sha = SCRIPT_FILES[script].sha.decode()
    count = f"*{3 + key_count + value_count}\r\n"
    return f"{count}{_word('EVALSHA')}{_word(sha)}{_word(str(key_count))}"


# By whether its slot is free, and whether it went well.
_ENDED = [[_word(state) + _word(ok) for ok in "01"] for state in ("FINISHED", "RELEASED")]
# What stands before a short word of ASCII, by its length.
_LENGTH = [f"${length}\r\n" for length in range(64)]


class Packer:
    """Packs requests for one server, in one reign."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._bind_head, self._end_head = _head("bind", 3, 12), _head("end", 3, 11)
        self._bind_terms = _word(str(site.terms.lease_ms)) + _word(str(site.terms.binding_ms))
        self._reign = _word(site.reign)
        self._owner: Owner | None = None
        self._member = self._owner_word = ""
        self._keep_s, self._keep_word = 0.0, _word("1")
        # What stands before and after the digest of a request in its names, by bucket.
        all_names = [site.keys.names_of(bucket, DIGEST) for bucket in range(BUCKET_COUNT)]
        words = [_word(n.bucket) + _word(n.binding) + _word(n.kept) for n in all_names]
        self._around = [tuple(three.split(DIGEST)) for three in words]
        # The names of a request, ready to be sent, and its packed key: from its Bind to its End.
        self._names: dict[RequestKey, tuple[str, bytes]] = {}

    def pack(self, request: Request) -> bytes:
        """The command that a request is."""
        kind = type(request)
        if kind is Bind:
            bind = cast(Bind, request)
            if _is_short(bind.seen.generation) and _is_short(bind.job_id):
                return self._bind(bind)
        elif kind is End:
            end = cast(End, request)
            if _is_short(end.seen.generation):
                return self._end(end)
        return pack_call(encode(request, self._site))

    def _bind(self, request: Bind) -> bytes:
        if request.owner is not self._owner:
            self._know(request.owner)
        names = self._named(request.key)
        if len(self._names) < NAMES_MAX:
            self._names[request.key] = names
        words, key = names
        seen, job_id, fence = request.seen, request.job_id, request.fence
        assert 0 <= fence <= FENCE_MAX, f"fence {fence} does not fit into a Lua number"
        generation, counter = seen.generation, str(seen.counter)
        body, fence_text = str(request.body), str(fence)
        text = (
            f"{self._bind_head}{words}{self._member}{_LENGTH[len(generation)]}{generation}\r\n"
            f"{_LENGTH[len(counter)]}{counter}\r\n{self._owner_word}"
            f"{_LENGTH[len(job_id)]}{job_id}\r\n{_LENGTH[len(body)]}{body}\r\n"
            f"{_LENGTH[len(fence_text)]}{fence_text}\r\n{self._bind_terms}${len(key)}\r\n"
        )
        keep = _NOTHING if request.keep is None else _blob(request.keep)
        return b"%b%b\r\n%b" % (text.encode(), key, keep)

    def _end(self, request: End) -> bytes:
        if request.owner is not self._owner:
            self._know(request.owner)
        known, key = self._names, request.key
        words, _ = known.pop(key) if key in known else self._named(key)
        if request.keep_s != self._keep_s:
            self._keep_s, self._keep_word = request.keep_s, _word(str(milliseconds(request.keep_s)))
        generation, counter = request.seen.generation, str(request.seen.counter)
        fence = str(request.fence)
        text = (
            f"{self._end_head}{words}{self._member}{_LENGTH[len(generation)]}{generation}\r\n"
            f"{_LENGTH[len(counter)]}{counter}\r\n{self._owner_word}"
            f"{_LENGTH[len(fence)]}{fence}\r\n{_ENDED[request.released][request.ok]}"
            f"{self._keep_word}"
        )
        if request.result is None:
            return text.encode() + _NO_RESULT
        return b"%b$1\r\n1\r\n%b" % (text.encode(), _blob(request.result))

    def _know(self, owner: Owner) -> None:
        self._owner = owner
        self._member = _word(owner.member) + self._reign
        self._owner_word = _word(owner_text(owner))

    def _named(self, key: RequestKey) -> tuple[str, bytes]:
        bucket, digest, text = place_of(key)
        before, after = self._around[bucket]
        return f"{before}{digest}{after}", text


def _is_short(text: str) -> bool:
    """Does it have as many bytes as characters, and few?"""
    return text.isascii() and len(text) < len(_LENGTH)
