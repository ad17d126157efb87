"""Worker processes as the supervisor starts them, with a manager that has only made the memory."""

import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from pointsman_shm.config import Config
from pointsman_shm.memory.catalog_layout import CatalogLayout
from pointsman_shm.memory.catalog_writer import CatalogWriter
from pointsman_shm.memory.ledger import Ledger
from pointsman_shm.memory.rows import NodeRows
from pointsman_shm.memory.segment import Segment, create_segment, unlink_segment
from pointsman_shm.memory.stats import StatsPage
from pointsman_shm.memory.waiting import WaitingWords
from pointsman_shm.paths import InstancePaths, prepare_directories, resolve_paths
from pointsman_shm.state_files import make_state_files
from pointsman_shm.uplink import UplinkMessage
from pointsman_wire.framing import FrameDecoder, HeaderDecoder, encode_frame
from pointsman_wire.messages import Message
from pointsman_wire.preamble import Role, encode_preamble
from pointsman_wire.session_messages import ToClient

WAIT_S = 20.0
CONFIG = Config()
MAX_NODES = 64
MINUTE_NS = 60_000_000_000


class Memory:
    """The segments of an instance, made as the manager makes them and removed at the end."""

    def __init__(self, paths: InstancePaths, worker_count: int) -> None:
        self.paths = paths
        self.worker_count = worker_count
        self.segments: list[Segment] = []

    def make(self) -> Self:
        """Make all of them, anew if there are some."""
        self.remove()
        paths, count = self.paths, self.worker_count
        layout = CatalogLayout(MAX_NODES)
        catalog = self._new(paths.catalog_segment, layout.size)
        # It beat once, a minute ago: it is dead.
        CatalogWriter(catalog, layout, create=True).beat(time.monotonic_ns() - MINUTE_NS)
        rows_size = NodeRows.size(MAX_NODES)
        NodeRows(self._new(paths.rows_segment, rows_size), max_nodes=MAX_NODES, create=True)
        ledger_size = Ledger.size(max_nodes=MAX_NODES, worker_count=count)
        Ledger(
            self._new(paths.ledger_segment, ledger_size),
            max_nodes=MAX_NODES,
            worker_count=count,
            create=True,
        )
        words_size = WaitingWords.size(count)
        WaitingWords(self._new(paths.waiting_segment, words_size), worker_count=count, create=True)
        for index in range(count):
            name = paths.stats_segment(f"worker-{index}")
            StatsPage(self._new(name, StatsPage.size()), create=True)
        return self

    def remove(self) -> None:
        """Remove them all; mappings of others live on."""
        for segment in self.segments:
            segment.close()
            unlink_segment(segment.name)
        self.segments.clear()

    def _new(self, name: str, size: int) -> memoryview:
        self.segments.append(create_segment(name, size))
        return self.segments[-1].buffer


class WorkerChild:
    """One worker process."""

    def __init__(self, home: "WorkerHome", index: int) -> None:
        self.home = home
        self.index = index
        ready, ready_for_child = os.pipe()
        alive_for_child, self.alive = os.pipe()
        listen_fd = home.listener.fileno()
        for descriptor in (ready_for_child, alive_for_child, listen_fd):
            os.set_inheritable(descriptor, True)
        command = [sys.executable, "-m", "pointsman_workers", "--index", str(index)]
        command += ["--workers", str(home.worker_count), "--instance", home.paths.instance]
        command += ["--state-dir", str(home.paths.state_dir), "--config", str(home.config_file)]
        command += ["--runtime-dir", str(home.paths.runtime_dir), "--listen-fd", str(listen_fd)]
        command += ["--ready-fd", str(ready_for_child), "--alive-fd", str(alive_for_child)]
        self.errors = home.folder / f"errors-{index}-{secrets.token_hex(4)}"
        with open(self.errors, "wb") as errors:
            self.process = subprocess.Popen(
                command,
                stderr=errors,
                pass_fds=(ready_for_child, alive_for_child, listen_fd),
            )
        os.close(ready_for_child)
        os.close(alive_for_child)
        self._ready = ready

    def wait_until_ready(self) -> Self:
        readable, _, _ = select.select([self._ready], [], [], WAIT_S)
        assert readable, self.said()
        assert os.read(self._ready, 64) == b"ready\n", self.said()
        return self

    def wait_for_end(self) -> int:
        return self.process.wait(WAIT_S)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.wait_for_end()

    def said(self) -> str:
        return self.errors.read_text()

    def wait_until_said(self, words: str) -> None:
        deadline_s = time.monotonic() + WAIT_S
        while words not in self.said():
            assert time.monotonic() < deadline_s, self.said()
            assert self.process.poll() is None, self.said()
            time.sleep(0.01)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(WAIT_S)
        for descriptor in (self._ready, self.alive):
            if descriptor >= 0:
                os.close(descriptor)
        self._ready = self.alive = -1

    def supervisor_dies(self) -> None:
        os.close(self.alive)
        self.alive = -1


class WorkerHome:
    """Directories, memory and the public socket of one instance."""

    def __init__(self, folder: Path, worker_count: int, stack: ExitStack) -> None:
        self.folder = folder
        self.worker_count = worker_count
        self._stack = stack
        self.paths = resolve_paths(
            f"t-{os.getpid()}-{secrets.token_hex(6)}",
            state_dir=str(folder / "state"),
            runtime_dir=str(folder / "run"),
            environment={},
            user_id=os.geteuid(),
        )
        prepare_directories(self.paths, user_id=os.geteuid())
        make_state_files(self.paths, os.urandom)
        self.config_file = folder / "pointsman.toml"
        self.config_file.write_text(f"[nodes]\nmax_nodes = {MAX_NODES}\n", encoding="utf-8")
        self.listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=512))
        self.address: tuple[str, int] = self.listener.getsockname()
        self.memory = Memory(self.paths, worker_count)
        stack.callback(self.memory.remove)

    def start(self, index: int) -> WorkerChild:
        child = WorkerChild(self, index)
        self._stack.callback(child.close)
        return child

    def dial(self, hello: bytes = b"") -> "Caller":
        sock = self._stack.enter_context(socket.create_connection(self.address, WAIT_S))
        sock.sendall(hello)
        return Caller(sock)


@contextmanager
def worker_home(folder: Path, worker_count: int = 1) -> Iterator[WorkerHome]:
    """An instance without a manager; whatever was started in it ends with it."""
    with ExitStack() as stack:
        yield WorkerHome(folder, worker_count, stack)


class Caller:
    """A blocking end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._frames = FrameDecoder()
        self._decoder: HeaderDecoder[Message] = HeaderDecoder(ToClient)
        self._pending: list[Message] = []

    def say(self, *messages: Message) -> None:
        self.sock.sendall(b"".join(encode_frame(message) for message in messages))

    def hear(self) -> Message | None:
        """Return the next message, None at the end."""
        while not self._pending:
            data = self.sock.recv(65536)
            if not data:
                return None
            self._pending += [self._decoder.decode(h) for h, _ in self._frames.feed(data)]
        return self._pending.pop(0)

    def rest(self) -> bytes:
        """Return all that comes until the end."""
        data = b""
        try:
            while piece := self.sock.recv(65536):
                data += piece
        except ConnectionResetError:
            pass
        return data


class PretendedManager:
    """The manager's end of the uplinks: hears, and tells."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(8)
        self.listener.settimeout(WAIT_S)

    def accept(self, union: object) -> tuple[socket.socket, UplinkMessage]:
        """Return the next uplink and its first message."""
        sock, _ = self.listener.accept()
        sock.settimeout(WAIT_S)
        frames = FrameDecoder()
        decoder: HeaderDecoder[UplinkMessage] = HeaderDecoder(union)
        while True:
            for header, _ in frames.feed(sock.recv(65536)):
                return sock, decoder.decode(header)

    def close(self) -> None:
        self.listener.close()
        self.path.unlink(missing_ok=True)


def session_hello(key: int | None) -> bytes:
    """The preamble of a session's connection."""
    return encode_preamble(Role.SESSION, key)
