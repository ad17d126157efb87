"""Awaiting: after a worker's restart its rooms fill again, and what is said meanwhile waits.

No room outlives its worker.  Its people come back and enter it anew, one before the other; until
the resume window has passed since the start, what is said there to nobody is kept for whoever
comes, and then refused, as it is at any other time.  Sound that waits counts as sound that is
being heard, and utterances that wait as open ones.
"""

from collections.abc import Callable

from pointsman_wire.errors import Code
from pointsman_wire.messages import ErrorInfo, error_info
from pointsman_wire.talk.talk_messages import Utterance
from pointsman_workers.core.shard import SECOND_NS, Shard
from pointsman_workers.desks.refusing import cancelled
from pointsman_workers.talk.memory import SoundMemory
from pointsman_workers.talk.nouns import Room, Turn, Voice


class AwaitingDesk:
    """Keeps what is said to people who are on their way.

    `say` makes jobs of an utterance, `refuse` answers one that gets none.
    """

    def __init__(
        self,
        shard: Shard,
        memory: SoundMemory,
        *,
        say: Callable[[Turn], None],
        refuse: Callable[[Voice, str, ErrorInfo], None],
    ) -> None:
        self.shard = shard
        self._memory = memory
        self._say = say
        self._refuse = refuse
        self._resume_ns = int(shard.config.sessions.resume_s * SECOND_NS)

    @property
    def until_ns(self) -> int:
        """When everybody has come back who will; 0 in the first life of a shard."""
        shard = self.shard
        return shard.started_ns + self._resume_ns if shard.setup.epoch > 1 else 0

    def is_open(self, room: Room) -> bool:
        """Is somebody alone in the room, whom another one may have been with?"""
        return len(room.members) == 1 and self.shard.now_ns < self.until_ns

    def is_for_others(self, voice: Voice, wanted: Utterance) -> bool:
        """Is it said to nobody yet, in such a room?"""
        is_named = wanted.to or wanted.tgt_langs or wanted.tgt_lang
        return voice.room is not None and not is_named and self.is_open(voice.room)

    def keep(self, turn: Turn) -> None:
        """Keep what was said, or refuse it for want of room."""
        voice, utterance_id = turn.voice, turn.wanted.utterance_id
        self._forget(voice, utterance_id)  # said again
        full = self._memory.refusal(voice, len(turn.sound)) if turn.sound else None
        if full is not None:
            self._refuse(voice, utterance_id, full)
            return
        self._memory.count(voice, len(turn.sound))
        voice.awaiting[utterance_id] = turn

    def look(self, room: Room) -> None:
        """Somebody has come, or nobody will any more."""
        for voice in [*room.members.values()]:
            for turn in [*voice.awaiting.values()]:
                self._forget(voice, turn.wanted.utterance_id)
                self._say(turn)

    def give_up(self, voice: Voice) -> None:
        """Who said it is leaving."""
        for utterance_id in [*voice.awaiting]:
            self._forget(voice, utterance_id)
            error = error_info(Code.NOT_FOUND, "the room was left before anybody came to hear it")
            self._refuse(voice, utterance_id, error)

    def withdraw(self, voice: Voice, utterance_id: str) -> bool:
        """Cancel what waits; False when nothing of this id does."""
        if utterance_id not in voice.awaiting:
            return False
        self._forget(voice, utterance_id)
        error = cancelled()
        self._refuse(voice, utterance_id, error)
        return True

    def _forget(self, voice: Voice, utterance_id: str) -> None:
        turn = voice.awaiting.pop(utterance_id, None)
        if turn is not None:
            self._memory.count(voice, -len(turn.sound))
