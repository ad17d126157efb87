"""What the sound of a worker's sessions may cost, together and each."""

from pointsman_shm.config import TalkConfig
from pointsman_wire.errors import Code
from pointsman_wire.messages import ErrorInfo, error_info
from pointsman_workers.talk.nouns import Voice
from pointsman_workers.talk.sound import PIECE_OVERHEAD_BYTES

RETRY_AFTER_MS = 1_000


class SoundMemory:
    """Counts the sound that is held here and is no job yet."""

    def __init__(self, talk: TalkConfig) -> None:
        self._session_bytes_max = talk.session_bytes_max
        self._worker_bytes_max = talk.worker_bytes_max
        self.held_bytes = 0  # of all sessions

    def refusal(self, voice: Voice, sound_bytes: int) -> ErrorInfo | None:
        """Why there is no room for so much more of a session; None if there is."""
        more = sound_bytes + PIECE_OVERHEAD_BYTES
        if voice.sound_bytes + more > self._session_bytes_max:
            whose = "the session's"
        elif self.held_bytes + more > self._worker_bytes_max:
            whose = "this worker's"
        else:
            return None
        text = f"{whose} memory for sound is full; the utterance was dropped, say it again"
        return error_info(Code.QUEUE_FULL, text, retry_after_ms=RETRY_AFTER_MS)

    def count(self, voice: Voice, more_bytes: int) -> None:
        """So much more is held of a session, or less."""
        voice.sound_bytes += more_bytes
        self.held_bytes += more_bytes
