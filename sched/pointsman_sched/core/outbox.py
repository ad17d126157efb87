"""The commands of one turn, in the order in which the shell must execute them."""

import msgspec

from pointsman_sched.core.events import Record, RegistryEntry
from pointsman_wire.errors import Code
from pointsman_wire.link import Close, Connection, Send
from pointsman_wire.messages import Error, Message, error_info


class Outbox:
    """Collects commands; what must be on disk first is gathered in one Record at the front."""

    def __init__(self) -> None:
        self._entries: list[RegistryEntry] = []
        self._commands: list[object] = []

    def record(self, entry: RegistryEntry) -> None:
        """Have the entry on disk before anything of this turn is sent."""
        self._entries.append(entry)

    def wish(self, command: object) -> None:
        """Add a command as it is."""
        self._commands.append(command)

    def send(self, connection: Connection, message: Message) -> None:
        """Send one message."""
        self._commands.append(Send(connection, message))

    def close(self, connection: Connection, reason: str) -> None:
        """Flush and end a connection."""
        self._commands.append(Close(connection, reason))

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
        self._commands.append(Send(connection, Error(info)))

    def take(self) -> list[object]:
        """Return the turn's commands and start anew."""
        commands = self._commands
        if self._entries:
            commands.insert(0, Record(tuple(self._entries)))
            self._entries = []
        self._commands = []
        return commands
