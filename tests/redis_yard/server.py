"""A Redis server of a test's own: its directory, its port or socket, and nothing left behind."""

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import hiredis

START_S = 20.0
# Lets some time pass: what scripts wrote down moves back, what lives becomes older.
PASS_TIME = """
local by = tonumber(ARGV[1])
local function older(key, field)
  local at = redis.call('HGET', key, field)
  if at then
    redis.call('HSET', key, field, string.format('%.0f', tonumber(at) - by))
  end
end
for _, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind == 'hash' then
    older(key, 'seen')
    older(key, 'renewed')
    older(key, 'written')
  elseif kind == 'zset' then
    for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do
      redis.call('ZINCRBY', key, -by, member)
    end
  end
  local left = redis.call('PTTL', key)
  if left >= 0 and left <= by then
    redis.call('DEL', key)
  elseif left >= 0 then
    redis.call('PEXPIRE', key, left - by)
  end
end
"""


def free_port() -> int:
    """A port that is free now, and whose cluster bus port (10,000 above) exists and is free."""
    for _ in range(100):
        with socket.socket() as probe, socket.socket() as bus:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                bus.bind(("127.0.0.1", port + 10_000))
                return port
            # High ephemeral ports have no bus port: take one below them.
            with contextlib.suppress(OSError):
                bus.bind(("127.0.0.1", port - 20_000))
                return port - 20_000
    raise RuntimeError("no free pair of ports")


class RedisServer:
    """One process; `command` speaks to it as the administrator."""

    def __init__(self, program: str, directory: Path, options: Sequence[str] = ()) -> None:
        self.program = program
        self.directory = directory
        self.options = list(options)
        self.port = free_port()
        self.socket = directory / "redis.sock"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> "RedisServer":
        """Start it, on the same port and directory as before, and wait until it answers."""
        for attempt in range(5):
            self._spawn(arguments)
            if self._answers():
                return self
            self.kill()
            if attempt < 4:
                self.port = free_port()
        log = (self.directory / "log").read_text(errors="replace")[-2_000:]
        raise RuntimeError(f"{self.program} does not start: {log}")

    def _spawn(self, arguments: Sequence[str]) -> None:
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"unixsocket {self.socket}",
            f"dir {self.directory}",
            f"logfile {self.directory}/log",
            'save ""',
            *self.options,
        ]
        config = self.directory / "redis.conf"
        config.write_text("\n".join(lines) + "\n")
        self.process = subprocess.Popen(
            [self.program, str(config), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches the run alone, which ends its server
        )

    def _answers(self) -> bool:
        deadline_s = time.monotonic() + START_S
        assert self.process is not None
        while time.monotonic() < deadline_s and self.process.poll() is None:
            with contextlib.suppress(OSError):
                reply = self.command("PING")
                if reply == b"PONG":
                    return True
            time.sleep(0.02)
        return False

    def command(self, *words: str | bytes | int | float, wait_s: float = 30.0) -> Any:
        """Ask one command as the administrator; an error reply is returned, not raised."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(wait_s)
            client.connect(str(self.socket))
            client.sendall(hiredis.pack_command(cast(Any, words)))
            reader = hiredis.Reader(notEnoughData=Ellipsis)
            while (reply := reader.gets()) is Ellipsis:
                data = client.recv(65_536)
                if not data:
                    raise ConnectionResetError("the server hung up")
                reader.feed(data)
            return reply

    def keys(self) -> list[str]:
        """Every key there is."""
        return sorted(key.decode() for key in self.command("KEYS", "*"))

    def pass_time(self, by_ms: int) -> None:
        """Let time pass for everything that is stored."""
        keys = self.keys()
        reply = self.command("EVAL", PASS_TIME, len(keys), *keys, by_ms)
        assert not isinstance(reply, Exception), reply

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it for good."""
        self._end(signal.SIGCONT)
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        self.process.send_signal(how)
        if how is signal.SIGCONT:
            return
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.process = None


@contextlib.contextmanager
def running(
    program: str, directory: Path, options: Sequence[str] = (), *arguments: str
) -> Iterator[RedisServer]:
    """A server for as long as the block lasts."""
    directory.mkdir(parents=True, exist_ok=True)
    server = RedisServer(program, directory, options)
    try:
        yield server.start(*arguments)
    finally:
        server.stop()
