"""Cursors: where a list goes on, in a form that nobody takes apart but us."""

import base64
import binascii

import msgspec

from pointsman_sched.console.admin.problems import bad_request

CURSOR_LENGTH_MAX = 512
_DIGITS_MAX = 18  # so many always fit a message
_ADVICE = "pass next_cursor of the page before unchanged, or leave it out"


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """After this key, in the list of this worker (0 where a list has no workers).

    A session's key is its id, which several tenants may have.
    """

    worker: int = 0
    key: str = ""
    tenant: str | None = None


START = Cursor()


def encode_cursor(cursor: Cursor) -> str:
    """Return the text of a cursor."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(cursor)).decode().rstrip("=")


def decode_cursor(text: str) -> Cursor:
    """Return the cursor of a text, the start for an empty one; raises ApiError for nonsense."""
    if not text:
        return START
    padded = text + "=" * (-len(text) % 4)
    try:
        return msgspec.msgpack.decode(base64.urlsafe_b64decode(padded), type=Cursor)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise bad_request("this is no cursor of ours", _ADVICE, "cursor") from None


def number_of(cursor: Cursor) -> int:
    """Return the key of a list that goes by numbers; raises ApiError for what is none."""
    key = cursor.key or "0"
    if not (key.isascii() and key.isdecimal()) or len(key) > _DIGITS_MAX:
        raise bad_request("this is no cursor of this list", _ADVICE, "cursor")
    return int(key)
