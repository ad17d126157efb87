"""The commands of one turn, in the order in which the shell must execute them."""

import msgspec

from pointsman_sched.core.events import Alarm, Record, RegistryEntry
from pointsman_shm.logs.events import Event
from pointsman_wire.errors import Code
from pointsman_wire.link import Close, Connection, Send
from pointsman_wire.messages import Error, Message, error_info


class Outbox:
    """Collects commands; what must be on disk is gathered in one Record at the front."""

    def __init__(self) -> None:
        self._entries: list[RegistryEntry] = []
        self.commands: list[object] = []  # of this turn so far; what is frequent is put here
        self._record_number = 0
        # Answers that wait until the record of their turn is on disk, by its number.
        self._held: dict[int, list[object]] = {}
        self.held_count = 0
        self.when_published: list[object] = []  # what waits for the next version of the snapshot

    def record(self, entry: RegistryEntry) -> None:
        """Have the entry on disk; nobody waits for that."""
        self._entries.append(entry)

    def answer_recorded(
        self, entry: RegistryEntry, connection: Connection, message: Message
    ) -> None:
        """Have the entry on disk, and send the message when it is there."""
        self._entries.append(entry)
        self._held.setdefault(self._record_number + 1, []).append(Send(connection, message))
        self.held_count += 1

    def recorded(self, number: int) -> None:
        """Every record up to this number is on disk."""
        for known in [known for known in self._held if known <= number]:
            answers = self._held.pop(known)
            self.held_count -= len(answers)
            self.commands += answers

    def published(self) -> None:
        """A version of the snapshot stands that has everything that was decided so far."""
        self.commands += self.when_published
        self.when_published = []

    def wish(self, command: object) -> None:
        """Add a command as it is."""
        self.commands.append(command)

    def alarm(self, words: str) -> None:
        """Say this where an operator reads it."""
        self.commands.append(Alarm(words, Event.FLEET_ALARM))

    def send(self, connection: Connection, message: Message) -> None:
        """Send one message."""
        self.commands.append(Send(connection, message))

    def close(self, connection: Connection, reason: str) -> None:
        """Flush and end a connection."""
        self.commands.append(Close(connection, reason))

    def refuse(
        self,
        connection: Connection,
        code: Code,
        words: str,
        *,
        retry_after_ms: int | None = None,
    ) -> None:
        """Say what is wrong and end the connection."""
        self.complain(connection, code, words, retry_after_ms=retry_after_ms)
        self.close(connection, words)

    def complain(
        self,
        connection: Connection,
        code: Code,
        words: str,
        *,
        retry_after_ms: int | None = None,
    ) -> None:
        """Say what is wrong; the connection goes on."""
        info = error_info(code, words, retry_after_ms=retry_after_ms)
        if retry_after_ms is not None:
            info = msgspec.structs.replace(info, retryable=True)
        self.commands.append(Send(connection, Error(info)))

    def take(self) -> list[object]:
        """Return the turn's commands and start anew."""
        commands = self.commands
        if self._entries:
            self._record_number += 1
            commands.insert(0, Record(self._record_number, tuple(self._entries)))
            self._entries = []
        self.commands = []
        return commands
