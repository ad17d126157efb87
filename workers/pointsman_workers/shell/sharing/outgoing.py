"""What this worker has for others, until it is in their inboxes: in order, once, and bounded.

One entry is under way to each receiver; what comes meanwhile joins the next one.  An entry whose
fate is unknown is sent again under the same number, by which its receiver knows it.
"""

from collections import deque

import msgspec

from pointsman_wire.coordination.fleet_requests import PRESENCE_MS
from pointsman_wire.coordination.inbox_requests import Place
from pointsman_wire.coordination.instance_messages import EntryHead
from pointsman_wire.coordination.signing import Signer
from pointsman_wire.framing import encode_frame
from pointsman_workers.core.events import WayState

ENTRY_BYTES_MAX = 1024 * 1024  # of frames, or one frame that is larger
FRAMES_MAX = 8_192  # that wait for one receiver,
WAITING_BYTES_MAX = 8 * 1024 * 1024  # and how large they are together


class Sender(msgspec.Struct, frozen=True):
    """Who we are, under which life."""

    instance: str
    uid: str
    shard: int
    epoch: int
    presence_ms: int = PRESENCE_MS  # so long our instance's name is kept for us

    @property
    def name(self) -> str:
        """As it stands under signatures."""
        return f"{self.instance}/{self.shard}"


class Outgoing:
    """The frames for one receiver."""

    def __init__(
        self, sender: Sender, receiver: Place, signer: Signer | None, *, number: int = 0
    ) -> None:
        self.receiver = receiver
        self._sender = sender
        self._signer = signer
        self._frames: deque[bytes] = deque(maxlen=FRAMES_MAX)
        self._bytes = 0
        self.number = number  # of the last entry
        self._entry = b""  # under way, or of unknown fate
        self.state: WayState = "open"

    def add(self, frame: bytes) -> bool:
        """Take a frame; False when too much waits, and all of it was thrown away."""
        if len(self._frames) >= FRAMES_MAX or self._bytes + len(frame) > WAITING_BYTES_MAX:
            self._frames.clear()
            self._bytes = 0
            return False
        self._frames.append(frame)
        self._bytes += len(frame)
        return True

    @property
    def has_more(self) -> bool:
        """Is there anything to send?"""
        return bool(self._entry or self._frames)

    def entry(self) -> bytes:
        """The entry that is to be sent, or sent again."""
        if not self._entry:
            self._entry = self._next_entry()
        return self._entry

    def _next_entry(self) -> bytes:
        self.number += 1
        sender = self._sender
        head = EntryHead(
            instance=sender.instance,
            uid=sender.uid,
            shard=sender.shard,
            epoch=sender.epoch,
            number=self.number,
        )
        parts, size = [encode_frame(head)], 0
        while self._frames and (not size or size + len(self._frames[0]) <= ENTRY_BYTES_MAX):
            frame = self._frames.popleft()
            parts.append(frame)
            size += len(frame)
        self._bytes -= size
        blob = b"".join(parts)
        if self._signer is None:
            return blob
        to = f"{self.receiver.instance}/{self.receiver.shard}"
        return self._signer.signed(blob, sender=sender.name, receiver=to)

    def sent(self) -> None:
        """The entry is in the receiver's inbox."""
        self._entry = b""
