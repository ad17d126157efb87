"""Who harms a service, writes down what was done, and has the history judged afterwards."""

import os
import signal
from contextlib import ExitStack
from pathlib import Path
from time import monotonic_ns

from crash.load import SLOTS
from live.journal import Journal
from live.nodes import NodeProcess, node_process
from live.service import LiveService

from pointsman.recording.facts import Fact
from pointsman.recording.history_file import HistoryFile
from pointsman_sim.checker.judging import judge
from pointsman_sim.checker.recording import load
from pointsman_sim.checker.verdicts import State

# All of them survive every process: what follows holds at level journal and above.
SURVIVES = "journal"
# Ratios of times are told by benches; a busy machine breaks this one without a fault of ours.
TIMED = "I13"


class Nemesis:
    """Kills, stops and thaws by process ids of what the test started; `count` is of deaths."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        self._file = HistoryFile(folder / "nemesis.history")

    def kill(self, pid: int, name: str) -> None:
        """End a process as `kill -9` does."""
        self.count += 1
        self._note("fault", "kill", name)
        os.kill(pid, signal.SIGKILL)
        self._note("proof", "kill", name)
        self._note("healed", "kill", name)

    def stop(self, pid: int, name: str) -> None:
        """Let a process stand still."""
        self.count += 1
        self._note("fault", "hang", name)
        os.kill(pid, signal.SIGSTOP)
        self._note("proof", "hang", name)

    def go_on(self, pid: int, name: str) -> None:
        """Let it go on, if it is still there."""
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass
        self._note("healed", "hang", name)

    def verdict(self) -> list[str]:
        """Return what was broken, of everything that all recorders in the folder have seen."""
        now_ns = monotonic_ns()
        self._file.write([Fact(at_ns=now_ns, by="observer", who="test", what="rest")])
        self._file.close()
        judgement = judge(load(sorted(self.folder.glob("*.history"))))
        assert judgement.accepted, "nothing was recorded"
        return [
            f"{verdict.promise}: {words}"
            for verdict in judgement.verdicts
            if verdict.state is State.BROKEN and verdict.promise != TIMED
            for _, words in verdict.words
        ]

    def _note(self, what: str, kind: str, name: str) -> None:
        shard = int(name.partition("-")[2]) if name.startswith("worker-") else -1
        fact = Fact(
            at_ns=monotonic_ns(),
            by="nemesis",
            who="nemesis",
            what=what,
            kind=f"{kind}-{name.partition('-')[0]}",
            node=name,
            shard=shard,
            level=SURVIVES,
            number=self.count,
        )
        self._file.write([fact])


class Fleet:
    """Node programs that can be killed and started again, each with what it kept."""

    def __init__(self, service: LiveService, journal: Journal, tgt: str, stack: ExitStack) -> None:
        self.service = service
        self.journal = journal
        self.tgt = tgt
        self._stack = stack
        self.nodes: dict[str, NodeProcess] = {}

    def start(self, name: str) -> None:
        """Start a node, or start it again."""
        folder = self.journal.path.parent
        self.nodes[name] = self._stack.enter_context(
            node_process(
                self.service.address,
                self.journal,
                self.tgt,
                node_id=name,
                slots=SLOTS,
                state_dir=str(folder / f"{name}.state"),
                history=str(folder / f"{name}.history"),
            )
        )

    async def ready(self) -> None:
        for node in self.nodes.values():
            await node.ready()
