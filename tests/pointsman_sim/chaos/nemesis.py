"""Who does the harm: kills and stops by pid what this run has started, and proves that it did.

kill-*     SIGKILL; the proof is that the process is gone
stop-*     SIGSTOP for some seconds, then SIGCONT; the proof is the kernel's letter T
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from time import monotonic, monotonic_ns
from typing import Any

from pointsman.recording.facts import Fact
from pointsman.recording.history_file import HistoryFile
from pointsman_sim.chaos.fleet import Fleet
from pointsman_sim.chaos.processes import birth_of, state_of

PROOF_S = 5.0
STOP_S = (0.5, 4.0)
PAUSE_S = (1.0, 4.0)


class Nemesis:
    """Strikes with each kind in turn, in an order from the seed, until it is stopped."""

    def __init__(self, fleet: Fleet, path: Path, faults: tuple[str, ...], seed: int) -> None:
        self._fleet = fleet
        self._file = HistoryFile(path)
        self._faults = faults
        self._dice = Random(f"{seed}/nemesis")
        self._numbers = 0
        self._stopped: dict[int, str] = {}  # pid -> birth
        self.struck_count = 0
        self._acts: dict[str, Callable[[], Awaitable[None]]] = {
            "kill-worker": lambda: self._kill_part(self._worker(), "journal"),
            "kill-manager": lambda: self._kill_part("manager", "memory"),
            "kill-node": lambda: self._kill(*self._fleet.any_node(self._dice)),
            "kill-client": lambda: self._kill(*self._fleet.any_client(self._dice)),
            "kill-all": self._kill_all,
            "stop-worker": lambda: self._stop_part(self._worker(), "journal"),
            "stop-manager": lambda: self._stop_part("manager", "memory"),
            "stop-node": lambda: self._stop(*self._fleet.any_node(self._dice), "memory"),
        }
        self._kind = ""

    async def strike_until(self, end_s: float) -> None:
        """Strike every few seconds until this instant of the monotonic clock."""
        kinds: list[str] = []
        while monotonic() < end_s:
            if not kinds:
                kinds = [*self._faults]
                self._dice.shuffle(kinds)
            self._kind = kinds.pop()
            await self._acts[self._kind]()
            await asyncio.sleep(min(self._dice.uniform(*PAUSE_S), max(0.0, end_s - monotonic())))

    def heal(self) -> None:
        """Let everything run that was stopped."""
        for pid, birth in self._stopped.items():
            if birth_of(pid) == birth:
                os.kill(pid, signal.SIGCONT)
        self._stopped.clear()

    def close(self) -> None:
        """Heal, and let go of the file."""
        self.heal()
        self._file.close()

    # ---- what it writes

    def _note(self, what: str, **more: Any) -> None:
        fact = Fact(at_ns=monotonic_ns(), by="nemesis", who="nemesis", what=what, **more)
        self._file.write([fact])

    def _fault(self, victim: str, level: str) -> int:
        self._numbers += 1
        self.struck_count += 1
        shard = int(victim[7:]) if victim.startswith("worker-") else -1
        about = {"status": self._kind, "node": victim, "level": level, "shard": shard}
        self._note("fault", number=self._numbers, **about)
        return self._numbers

    # ---- what it does

    def _worker(self) -> str:
        return f"worker-{self._dice.randrange(self._fleet.service.worker_count)}"

    async def _kill_part(self, name: str, level: str) -> None:
        pid = self._fleet.service.parts().get(name)
        if pid is not None:
            await self._kill(name, pid, level)

    async def _kill_all(self) -> None:
        for name, pid in self._fleet.service.parts().items():
            level = "journal" if name.startswith("worker") else "memory"
            await self._kill(name, pid, level)

    async def _kill(self, name: str, pid: int, level: str = "memory") -> None:
        birth = birth_of(pid)
        if not birth:
            return
        number = self._fault(name, level)
        os.kill(pid, signal.SIGKILL)
        if await self._is_so(lambda: state_of(pid) in ("", "Z") or birth_of(pid) != birth):
            self._note("proof", number=number, words=f"pid {pid} is gone")

    async def _stop_part(self, name: str, level: str) -> None:
        pid = self._fleet.service.parts().get(name)
        if pid is not None:
            await self._stop(name, pid, level)

    async def _stop(self, name: str, pid: int, level: str) -> None:
        birth = birth_of(pid)
        if not birth:
            return
        number = self._fault(name, level)
        self._stopped[pid] = birth
        os.kill(pid, signal.SIGSTOP)
        # Whoever watches over it may have killed it for standing still: then it is gone.
        if await self._is_so(lambda: state_of(pid) in ("T", "", "Z")):
            self._note("proof", number=number, words=f"pid {pid} is {state_of(pid) or 'gone'}")
        await asyncio.sleep(self._dice.uniform(*STOP_S))
        self.heal()
        self._note("healed", number=number)

    async def _is_so(self, is_so: Callable[[], bool]) -> bool:
        until_s = monotonic() + PROOF_S
        while not is_so():
            if monotonic() > until_s:
                return False
            await asyncio.sleep(0.005)
        return True
