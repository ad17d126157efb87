"""The file that a recorder appends to: one write a turn, never more than its bound."""

import os
from collections.abc import Sequence
from pathlib import Path

from pointsman.recording.facts import Fact, encode_fact

BYTES_MAX = 512 * 1024 * 1024


class HistoryFile:
    """Lines of several processes do not mix: O_APPEND, and all lines of a turn in one write.

    What was written survives the kill of its writer.  At the bound a last line says so, and the
    rest is dropped.  Raises OSError when the file cannot be opened or written.
    """

    def __init__(self, path: str | Path, bytes_max: int = BYTES_MAX) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        self._descriptor = os.open(path, flags, 0o600)
        self._bytes_left = bytes_max
        self._is_full = False

    def write(self, facts: Sequence[Fact]) -> None:
        """Append what happened in one turn."""
        if self._is_full or not facts:
            return
        data = b"".join(encode_fact(fact) + b"\n" for fact in facts)
        if len(data) > self._bytes_left:
            self._is_full = True
            last = facts[-1]
            data = encode_fact(Fact(at_ns=last.at_ns, by=last.by, who=last.who, what="full"))
            data += b"\n"
        self._bytes_left -= len(data)
        os.write(self._descriptor, data)

    def close(self) -> None:
        """Let go of the file; what is written later is dropped."""
        self._is_full = True
        os.close(self._descriptor)
