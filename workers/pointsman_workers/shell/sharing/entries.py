"""Reading the entries of an inbox: input from a network like any other.

An entry is checked against its signature, cut into frames and decoded as a whole; one that fails
any of it says nothing at all.  One that was read before is known by its number, and so is that
some were lost: by a failover to a replica that lags, a flush, or because they could not be read.
"""

from typing import NamedTuple

from pointsman_wire.coordination.instance_messages import Entry, EntryHead
from pointsman_wire.coordination.signing import HEAD_BYTES, Signer
from pointsman_wire.framing import FrameDecoder, FrameError, HeaderDecoder, MessageError
from pointsman_wire.messages import Message
from pointsman_workers.core.events import InstanceMissed, InstanceSaid
from pointsman_workers.shell.sharing.outgoing import ENTRY_BYTES_MAX

ENTRY_BYTES_READ_MAX = 4 * ENTRY_BYTES_MAX
SENDERS_MAX = 4_096


class BadEntry(Exception):
    """The entry cannot be absorbed; the words say why."""


class Heard(NamedTuple):
    """The last entry of one life of a sender."""

    uid: str
    epoch: int
    number: int


class EntryReader:
    """Reads entries for one worker."""

    def __init__(self, receiver: str, signer: Signer | None) -> None:
        self._receiver = receiver
        self._signer = signer
        self._decode = HeaderDecoder[Message](Entry).decode
        self._heard: dict[tuple[str, int], Heard] = {}

    def read(
        self, entry: bytes, *, is_redriven: bool = False
    ) -> list[InstanceSaid | InstanceMissed]:
        """What the entry says; nothing when it was read before.  Raises BadEntry.

        Where its number is not the next one, it begins with the news that others are lost.
        What was redriven was never absorbed: its number says nothing, and others went before it.
        """
        head, frames = self.opened(entry)
        sender = (head.instance, head.shard)
        if is_redriven:
            return [InstanceSaid(*sender, message, payload) for message, payload in frames]
        last = self._heard.get(sender)
        now = Heard(head.uid, head.epoch, head.number)
        if last is not None and last.uid == now.uid and last[1:] >= now[1:]:
            return []
        if last is None and len(self._heard) >= SENDERS_MAX:
            del self._heard[next(iter(self._heard))]
        self._heard[sender] = now
        said: list[InstanceSaid | InstanceMissed] = []
        if last is not None and last[:2] == now[:2] and now.number > last.number + 1:
            said.append(InstanceMissed(*sender))
        said += [InstanceSaid(*sender, message, payload) for message, payload in frames]
        return said

    def head_of(self, entry: bytes) -> EntryHead | None:
        """Who wrote it, as it says itself; None when even that cannot be read."""
        try:
            return self._head(entry if self._signer is None else entry[HEAD_BYTES:])
        except BadEntry:
            return None

    def opened(self, entry: bytes) -> tuple[EntryHead, list[tuple[Message, bytes]]]:
        """Who wrote it, and its frames, without noting that it was read.  Raises BadEntry."""
        if len(entry) > ENTRY_BYTES_READ_MAX:
            raise BadEntry(f"it has {len(entry)} bytes, at most {ENTRY_BYTES_READ_MAX} are read")
        blob = entry if self._signer is None else entry[HEAD_BYTES:]
        head = self._head(blob)
        if self._signer is not None:
            sender = f"{head.instance}/{head.shard}"
            if self._signer.checked(entry, sender=sender, receiver=self._receiver) is None:
                raise BadEntry("it is not signed with the key of this cluster, for this inbox")
        return head, [frame for frame in self._frames(blob) if not isinstance(frame[0], EntryHead)]

    def _head(self, blob: bytes) -> EntryHead:
        try:
            header, _ = next(FrameDecoder().feed(blob))
            head = self._decode(header)
        except StopIteration:
            raise BadEntry("it has no whole frame") from None
        except (FrameError, MessageError) as error:
            raise BadEntry(f"its first frame cannot be read: {error}") from None
        if not isinstance(head, EntryHead):
            raise BadEntry("it does not begin with who wrote it")
        return head

    def _frames(self, blob: bytes) -> list[tuple[Message, bytes]]:
        decoder = FrameDecoder()
        try:
            frames = [(self._decode(header), payload) for header, payload in decoder.feed(blob)]
        except (FrameError, MessageError) as error:
            raise BadEntry(f"a frame cannot be read: {error}") from None
        if decoder.is_mid_frame:
            raise BadEntry("its last frame is cut off")
        return frames
