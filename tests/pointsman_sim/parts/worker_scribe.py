"""What a simulated worker adds to a history: which jobs have ended, whoever hears of it."""

from collections.abc import Sequence
from typing import Any

from pointsman.recording.facts import Fact
from pointsman_wire.link import Send
from pointsman_wire.session_messages import Result
from pointsman_workers.core.events import WriteJournal
from pointsman_workers.journal.entries import JobAccepted, JobEnded


class WorkerScribe:
    """Looks at the turns of one worker; `names` are the ids of its shard's journalled jobs."""

    def __init__(self, who: str, names: dict[int, str]) -> None:
        self._who = who
        self._names = names

    def turn(self, now_ns: int, events: Sequence[Any], commands: Sequence[Any]) -> list[Fact]:
        """Return what one turn adds."""
        ended: dict[str, None] = {}
        for command in commands:
            if type(command) is Send and type(command.message) is Result:
                ended[command.message.job_id] = None
        kept = self._in_journal(commands)
        ended |= kept
        return [
            Fact(at_ns=now_ns, by="worker", who=self._who, what=what, job_id=job_id)
            for what, jobs in (("ended", ended), ("kept", kept))
            for job_id in jobs
        ]

    def _in_journal(self, commands: Sequence[Any]) -> dict[str, None]:
        """Return the jobs whose ends are written down."""
        ended: dict[str, None] = {}
        entries = [e for c in commands if type(c) is WriteJournal for e in c.entries]
        for entry in entries:
            if isinstance(entry, JobAccepted):
                self._names[entry.job] = entry.job_id
            elif isinstance(entry, JobEnded) and entry.job in self._names:
                ended[self._names[entry.job]] = None
        return ended
