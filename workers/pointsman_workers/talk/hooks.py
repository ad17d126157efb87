"""Where talk is told what happens to sessions and jobs; by default nobody listens.

The shard asks for jobs only as long as some of talk are open, so that others cost nothing.
"""

from pointsman_wire.link import Connection
from pointsman_wire.messages import ErrorInfo
from pointsman_wire.session_messages import SessionInit
from pointsman_workers.core.state import Job, Key, Session


class Watcher:
    """Watches sessions, and those jobs whose keys are in Shard.talks."""

    def joined(self, session: Session, message: SessionInit) -> None:
        """The session was opened or resumed on a connection."""

    def left(self, session: Session) -> None:
        """Its connection is gone."""

    def ended(self, session: Session) -> None:
        """It is over."""

    def withdraw(self, session: Session, request_id: str) -> bool:
        """Cancel what is no job yet; False when nothing of this id is."""
        return False

    def dispatched(self, job: Job, pool_id: int | None) -> None:
        """The job was handed to a node."""

    def started(self, job: Job) -> None:
        """The node has taken it."""

    def refused(self, key: Key, error: ErrorInfo, told_on: Connection) -> None:
        """It is no job after all, as was told on this connection, if that stands."""

    def finished(self, job: Job) -> None:
        """It has a result, which may wait for those before it."""

    def told(self, job: Job) -> None:
        """Its result goes to its session now."""
