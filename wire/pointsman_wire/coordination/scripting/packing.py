"""Requests as the bytes that Redis reads.

The two that every job needs are written in one go, with what is the same for all of them made
once; the others are packed from the calls that `calls.encode` makes.  A test holds both ways
against each other.
"""

from typing import cast

from pointsman_wire.coordination.requests import FENCE_MAX, Bind, End, Owner, Request, RequestKey
from pointsman_wire.coordination.scripting.call import Call, Site
from pointsman_wire.coordination.scripting.calls import encode, milliseconds, owner_text
from pointsman_wire.coordination.scripting.files import SCRIPT_FILES
from pointsman_wire.coordination.scripting.resp import pack

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


class Packer:
    """Packs requests for one server, in one reign."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._bind_head, self._end_head = _head("bind", 3, 12), _head("end", 3, 11)
        self._bind_terms = _word(str(site.terms.lease_ms)) + _word(str(site.terms.binding_ms))
        self._reign = _word(site.reign)
        self._owner: Owner | None = None
        self._member = self._owner_word = ""
        # The names of a request, ready to be sent, and its packed key: from its Bind to its End.
        self._names: dict[RequestKey, tuple[str, bytes]] = {}

    def pack(self, request: Request) -> bytes:
        """The command that a request is."""
        kind = type(request)
        # Lengths of words count bytes, here those of ASCII.
        if kind is Bind:
            bind = cast(Bind, request)
            if bind.job_id.isascii() and bind.seen.generation.isascii():
                return self._bind(bind)
        elif kind is End:
            end = cast(End, request)
            if end.seen.generation.isascii():
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
        counter, body, fence_text = str(seen.counter), str(request.body), str(fence)
        text = (
            f"{self._bind_head}{words}{self._member}"
            f"${len(seen.generation)}\r\n{seen.generation}\r\n${len(counter)}\r\n{counter}\r\n"
            f"{self._owner_word}${len(job_id)}\r\n{job_id}\r\n${len(body)}\r\n{body}\r\n"
            f"${len(fence_text)}\r\n{fence_text}\r\n{self._bind_terms}${len(key)}\r\n"
        )
        keep = _NOTHING if request.keep is None else _blob(request.keep)
        return b"%b%b\r\n%b" % (text.encode(), key, keep)

    def _end(self, request: End) -> bytes:
        if request.owner is not self._owner:
            self._know(request.owner)
        known = self._names
        words, _ = known.pop(request.key) if request.key in known else self._named(request.key)
        seen, state = request.seen, "RELEASED" if request.released else "FINISHED"
        counter, fence = str(seen.counter), str(request.fence)
        keep_ms = str(milliseconds(request.keep_s))
        text = (
            f"{self._end_head}{words}{self._member}"
            f"${len(seen.generation)}\r\n{seen.generation}\r\n${len(counter)}\r\n{counter}\r\n"
            f"{self._owner_word}${len(fence)}\r\n{fence}\r\n$8\r\n{state}\r\n"
            f"$1\r\n{request.ok:d}\r\n${len(keep_ms)}\r\n{keep_ms}\r\n"
        )
        if request.result is None:
            return text.encode() + _NO_RESULT
        return b"%b$1\r\n1\r\n%b" % (text.encode(), _blob(request.result))

    def _know(self, owner: Owner) -> None:
        self._owner = owner
        self._member = _word(owner.member) + self._reign
        self._owner_word = _word(owner_text(owner))

    def _named(self, key: RequestKey) -> tuple[str, bytes]:
        names = self._site.keys.request(key)
        return _word(names.bucket) + _word(names.binding) + _word(names.kept), names.packed
