"""A client in plain sockets: submits one text and prints the translation and where it was made.

python examples/plain_sockets/tiny_client.py 127.0.0.1:7400 "good morning"
"""

import sys
import time
from typing import Any

from plain_wire import SESSION, Connection, Refused, session_key, wait_s

TRIES_MAX = 8
REQUEST_ID = "r-1"


class Client:
    """One session with one job; it survives a lost connection."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.session_id = self.resume_token = ""
        self.number = 0  # of the session on the connection of this try

    def translate(self, text: str) -> tuple[dict[str, Any], str]:
        """Return the result's header and its text.  Raises Refused."""
        for failures in range(TRIES_MAX):
            try:
                return self._try(text)
            except (OSError, Refused) as error:
                told = error.told if isinstance(error, Refused) else {"retryable": True}
                if not told.get("retryable") or failures == TRIES_MAX - 1:
                    raise
                print(f"trying again: {error}", file=sys.stderr)
                time.sleep(wait_s(0.5, 30, failures) + (told.get("retry_after_ms") or 0) / 1000)
        raise AssertionError("the last try returns or raises")

    def _try(self, text: str) -> tuple[dict[str, Any], str]:
        connection = self._open()
        try:
            # The key makes it harmless to submit again what the server may know already.
            connection.send(
                "submit",
                text.encode(),
                session_number=self.number,
                request_id=REQUEST_ID,
                services=["nmt"],
                content_type="text/plain",
            )
            header, payload = self._result(connection)
            connection.send("result_ack", results=[[self.number, header["number"]]])
            connection.send("session_close", session_number=self.number)
            return header, payload.decode()
        finally:
            connection.close()

    def _open(self) -> Connection:
        """Open the session or take it up again, at the worker that owns it."""
        key = session_key(self.session_id) if self.session_id else None
        connection = Connection(self.address, SESSION, key)
        connection.send(
            "session_init",
            session_id=self.session_id,
            resume_token=self.resume_token,
            src_lang="en",
            tgt_lang="es",
            unfinished=[REQUEST_ID] if self.session_id else [],
        )
        header, _ = connection.receive(10)
        if header["type"] == "session_init_ack":
            self.session_id, self.resume_token = header["session_id"], header["resume_token"]
            self.number = header.get("session_number", 0)
            return connection
        connection.close()
        if header["type"] == "moved":
            self.session_id = header["session_id"]
            self.address = header.get("address") or self.address
            return self._open()
        raise Refused(header["error"])

    def _result(self, connection: Connection) -> tuple[dict[str, Any], bytes]:
        """Wait for the result; other messages are not for this simple client."""
        while True:
            header, payload = connection.receive(60)
            if header["type"] == "error":
                raise Refused(header["error"])
            if header["type"] in ("session_closed", "going_away"):
                raise ConnectionError(header.get("reason", "the worker is stopping"))
            if header["type"] == "result" and "error" in header:
                raise Refused({**header["error"], "retryable": False})
            if header["type"] == "result":
                return header, payload


def main() -> None:
    """Run one job, as the command line says."""
    if len(sys.argv) != 3:
        sys.exit("usage: tiny_client.py HOST:PORT TEXT")
    try:
        header, text = Client(sys.argv[1]).translate(sys.argv[2])
    except (OSError, Refused) as error:
        sys.exit(f"no translation: {error}")
    attempt, queued_ms = header.get("attempt", 0), header.get("queued_ms", 0)
    print(text)
    print(f"by {header.get('node_id')}, attempt {attempt}, after waiting {queued_ms:.1f} ms")


if __name__ == "__main__":
    main()
