"""Who may call itself by which node id: keys, kept only as hashes, and registration epochs.

A key is 256 random bits, issued when an id is new and proved from then on.  What is stored is its
BLAKE2b digest; as the key is random and long, a plain fast hash cannot be turned back.  Epochs
only ever grow, also over restarts of every process: what a node of an older epoch says is void.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from hmac import compare_digest
from itertools import islice

import msgspec

from pointsman_sched.core.events import RegistryEntry
from pointsman_wire.errors import Code

KEY_BYTES = 32
# A key that a node brings for an id we do not know (our own memory was lost) is kept if it can
# be one: as long as those that we issue.
KEY_LENGTH_MIN = 32
KEY_LENGTH_MAX = 256
EPOCH_MAX = 2**63 - 1
# More than one, so that a registry which is too large grows smaller.
FORGOTTEN_AT_ONCE = 2


class Refusal(msgspec.Struct, frozen=True):
    """Why a registration is not taken."""

    code: Code
    words: str
    retry_after_ms: int | None = None


class Admission(msgspec.Struct, frozen=True):
    """The id, the epoch to come, and the key if it was issued just now."""

    entry: RegistryEntry
    issued_key: str


class Identities:
    """Node id -> key hash and epoch; the id that registered longest ago stands first."""

    def __init__(self, entries: Iterable[RegistryEntry], known_max: int) -> None:
        self._known_max = known_max
        self._known: dict[str, RegistryEntry] = {}
        for entry in entries:
            self._known.pop(entry.node_id, None)
            if not entry.is_forgotten:
                self._known[entry.node_id] = entry

    def __len__(self) -> int:
        return len(self._known)

    def is_known(self, node_id: str) -> bool:
        """Does this id belong to somebody's key?"""
        known = self._known.get(node_id)
        return known is not None and bool(known.key_hash)

    def has_key(self, node_id: str, key: str) -> bool:
        """Does this id belong to this very key?"""
        known = self._known.get(node_id)
        return known is not None and compare_digest(known.key_hash, hash_key(key))

    def epoch_of(self, node_id: str) -> int:
        """Return the highest epoch that an id ever had, 0 for an unknown one."""
        entry = self._known.get(node_id)
        return entry.epoch if entry else 0

    def examine(
        self, node_id: str, key: str, entropy: Callable[[int], bytes]
    ) -> Admission | Refusal:
        """Check an id against its key; nothing is changed yet.

        An empty id gets a new one.  An unknown id is taken with the key it brings, if it is one,
        so that a server that lost its registry does not lock its fleet out; else a key is issued.
        An issued key that was never proven is issued anew: the answer with it may have been lost.
        """
        if not node_id:
            node_id = self._invent(entropy)
        known = self._known.get(node_id)
        epoch = known.epoch + 1 if known is not None else 1
        assert epoch <= EPOCH_MAX, node_id
        if known is not None and known.key_hash:
            if compare_digest(known.key_hash, hash_key(key)):
                return Admission(RegistryEntry(node_id, known.key_hash, epoch, True), "")
            if key or known.is_proven:
                return Refusal(Code.NODE_ID_CONFLICT, _conflict_words(node_id, has_key=bool(key)))
        if len(key) > KEY_LENGTH_MAX:
            return Refusal(
                Code.INVALID_CAPABILITY_SCHEMA,
                f"key: {len(key)} characters, at most {KEY_LENGTH_MAX} are taken",
            )
        issued = "" if len(key) >= KEY_LENGTH_MIN else entropy(KEY_BYTES).hex()
        entry = RegistryEntry(node_id, hash_key(issued or key), epoch, not issued)
        return Admission(entry, issued)

    def learn(self, entry: RegistryEntry) -> None:
        """Another instance has this id's node: its newer word holds here too, while we live.

        It is not recorded: that is done by who registers the node.
        """
        known = self._known.get(entry.node_id)
        if known is None and len(self._known) >= self._known_max:
            return
        if known is None or known.epoch < entry.epoch:
            self._known[entry.node_id] = entry

    def entry_of(self, node_id: str) -> RegistryEntry | None:
        """Return what is known of an id."""
        return self._known.get(node_id)

    def prove(self, node_id: str) -> RegistryEntry | None:
        """The node has its key; return what must be recorded if that is new."""
        known = self._known.get(node_id)
        if known is None or known.is_proven or not known.key_hash:
            return None
        proven = self._known[node_id] = msgspec.structs.replace(known, is_proven=True)
        return proven

    def release(self, node_id: str) -> RegistryEntry | None:
        """Forget the key of an id, which is anybody's again; return what must be recorded.

        The epoch stays: it never goes back, whoever has the id.
        """
        known = self._known.get(node_id)
        if known is None or not known.key_hash:
            return None
        freed = self._known[node_id] = RegistryEntry(node_id, b"", known.epoch, False)
        return freed

    def admit(
        self, entry: RegistryEntry, is_present: Callable[[str], bool]
    ) -> Sequence[RegistryEntry]:
        """Remember an admission; ids longest gone make room, never one that is in the fleet.

        Returns what must be recorded of those that are forgotten.
        """
        self._known.pop(entry.node_id, None)
        self._known[entry.node_id] = entry
        excess = min(len(self._known) - self._known_max, FORGOTTEN_AT_ONCE)
        if excess <= 0:
            return ()
        gone = [*islice((known for known in self._known if not is_present(known)), excess)]
        for node_id in gone:
            del self._known[node_id]
        return [RegistryEntry(node_id, b"", 0, False) for node_id in gone]

    def _invent(self, entropy: Callable[[int], bytes]) -> str:
        while True:
            node_id = f"node-{entropy(6).hex()}"
            if node_id not in self._known:
                return node_id


def hash_key(key: str) -> bytes:
    """Return what is stored of a key."""
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=32).digest()


def _conflict_words(node_id: str, *, has_key: bool) -> str:
    if has_key:
        return f"node id {node_id!r} belongs to another key"
    return f"node id {node_id!r} is taken: whoever uses it must prove it with its key"
