"""One run from a seed: work and harm for a while, then quiet, then everything must have ended.

working   clients ask, the nemesis strikes; every turn is judged
quiet     nobody asks, everything is healed: what was begun must end by itself
proof     one more request of each client must find a node
"""

from traceback import format_exception
from types import TracebackType
from typing import Self

import msgspec

from pointsman_shm.memory.stats_names import Counter
from pointsman_sim.checker.judging import judge
from pointsman_sim.cluster import Cluster
from pointsman_sim.faults import Nemesis
from pointsman_sim.history import Violation
from pointsman_sim.parts.client_part import ClientSite
from pointsman_sim.quiescence import what_is_left
from pointsman_sim.settings import Settings
from pointsman_sim.workload import Workload
from pointsman_sim.world.dice import MS, S
from pointsman_wire.session_messages import Submit

LOOK_NS = 200 * MS
PROOF_S = 60.0
MARKS_LAST_S = 2.5  # longer than a node is skipped because a model was missing


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a run; `violation` is empty when every promise was kept."""

    settings: Settings
    trace_hash: str
    turns: int
    virtual_s: float
    counts: dict[str, int]
    violation: str = ""
    # Set with a violation: where it was met, and the last turns before it.
    traceback: str = ""
    tail: list[str] = []


class Findings:
    """Takes what escapes from a core or a judge: either way it is what the run was made to find."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if isinstance(error, Exception):
            self.error = error
        return isinstance(error, Exception)


class Simulation:
    """A cluster and who drives it; stories of tests drive it themselves."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.cluster = Cluster(settings)
        self.nemesis = Nemesis(self.cluster)
        self.workload = Workload(settings.seed, self.cluster.schedule, self.cluster.clients)
        self._start_ns = self.cluster.schedule.now_ns

    def run(self) -> Report:
        """Run to the end, or to the first broken promise."""
        with Findings() as findings:
            self.work()
            self.come_to_rest()
            self.prove()
            self.judge_history()
        return self.report(findings.error)

    def work(self) -> None:
        """Let clients ask and the nemesis strike."""
        settings, cluster = self.settings, self.cluster
        cluster.start()
        self.workload.start()
        self.nemesis.start()
        end_ns = self._start_ns + int(settings.duration_s * S)
        schedule, history = cluster.schedule, cluster.history
        while schedule.now_ns < end_ns and history.turns < settings.steps:
            schedule.run_next()

    def advance(self, duration_s: float) -> None:
        """Let time pass."""
        schedule = self.cluster.schedule
        end_ns = schedule.now_ns + int(duration_s * S)
        schedule.at(end_ns, _nothing)
        while schedule.now_ns < end_ns:
            schedule.run_next()

    def come_to_rest(self) -> None:
        """Heal everything and wait until nothing is left of what was begun."""
        self.workload.stop()
        self.nemesis.stop()
        self.cluster.history.note("nemesis", "stops")
        quiet_ns = self.wait_for_rest(self.settings.quiet_s)
        self.cluster.history.counts["quiet_ms"] = quiet_ns // MS
        self.cluster.invariants.judge_ended()

    def wait_for_rest(self, limit_s: float) -> int:
        """Let time pass until nothing is left; return how long.  Raises Violation at the limit."""
        schedule = self.cluster.schedule
        since_ns = schedule.now_ns
        while left := what_is_left(self.cluster):
            if schedule.now_ns - since_ns > limit_s * S:
                words = f"{limit_s:g} s after the last fault and submit: {'; '.join(left)}"
                raise Violation("I1", words)
            self.advance(LOOK_NS / S)
        return schedule.now_ns - since_ns

    def judge_history(self) -> None:
        """Hold what all have written down against the promises.  Raises Violation."""
        world = self.cluster.world
        world.note("rest")
        for row in range(self.cluster.instance.memory.max_nodes):
            held = self.cluster.instance.memory.ledger.held(row)
            world.note("slots", node=f"row {row}", number=held)
        for verdict in judge(world.facts).verdicts:
            for at_ns, words in verdict.words:
                raise Violation(verdict.promise, f"{words} (at {at_ns / S:.6f})")

    def prove(self) -> None:
        """Ask once more for something that the first node can do: a node must take it."""
        for node in self.cluster.nodes:
            node.behave()
        self.advance(MARKS_LAST_S)
        for site in self.cluster.clients:
            site.repeats = 0.0
            submit = Submit(
                request_id="proof",
                services=["nmt"],
                src_lang="en",
                tgt_lang="es",
                wait_busy_s=30.0,
                wait_none_s=30.0,
            )
            site.ask(next(iter(site.sessions)), submit, b"proof")
        self.wait_for_rest(PROOF_S)
        for site in self.cluster.clients:
            self._judge_proof(site)

    def _judge_proof(self, site: ClientSite) -> None:
        result = site.results.get((next(iter(site.sessions)), "proof"))
        if result is None or result.attempt == 0:
            raise Violation("I13", f"{site.name}: no node took a request after all was healed")

    def report(self, error: Exception | None = None) -> Report:
        """Return what came of it so far."""
        cluster, history = self.cluster, self.cluster.history
        counts = dict(sorted(history.counts.items()))
        stats = [page.read().counters for page in cluster.instance.memory.stats]
        for counter in Counter:
            name = counter.name.lower()
            counts[name] = sum(page.get(name, 0) for page in stats)
        counts["starts at nodes"] = cluster.invariants.starts_count
        return Report(
            settings=self.settings,
            trace_hash=history.trace_hash,
            turns=history.turns,
            virtual_s=(cluster.schedule.now_ns - self._start_ns) / S,
            counts=counts,
            violation=_words(error),
            traceback="".join(format_exception(error)) if error else "",
            tail=history.tail_lines() if error else [],
        )


def simulate(settings: Settings) -> Report:
    """Run one seed."""
    simulation = Simulation(settings)
    report = simulation.run()
    simulation.cluster.instance.let_go()
    return report


def _nothing() -> None:
    """Only let time come this far."""


def _words(error: Exception | None) -> str:
    if error is None or isinstance(error, Violation):
        return str(error or "")
    return f"a core broke: {type(error).__name__}: {error}"
