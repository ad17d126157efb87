"""Is the service fit to take jobs?  Judged from what its processes write, not from what they say.

    manager    its last sign of life is younger than what counts as stale
    workers    each has taken a turn lately, for each has sessions that nobody else serves
    draining   none was told to stop
    redis      it answers, where nothing is taken without it; that it may drop keys is told, and
               does not take readiness away: no instance could do better
    submits    not more of them failed than got a node, again and again for two seconds: such that
               fail by no fault of their clients.  When nobody submits any more, nothing is known
               and, after a while, nothing is held against the service.

Time comes in; whoever has not looked for a while judges nobody's silence.
"""

from collections.abc import Mapping

import msgspec

SECOND_NS = 1_000_000_000
SILENT_NS = 2 * SECOND_NS
LOOK_NS = SECOND_NS // 2
# Failing for longer than 2 s must show at 2 s, whenever between two looks it began.
FAILING_NS = 2 * SECOND_NS - LOOK_NS
QUIET_NS = 10 * SECOND_NS
DROPS_KEYS = (
    "redis: it may drop keys when its memory is full, and jobs may run twice: set its "
    "maxmemory-policy to noeviction (the manager's log has the command)"
)


class WorkerSigns(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker's page shows."""

    beat_at_ns: int
    is_draining: bool = False
    is_redis_down: bool = False
    submits_failed: int = 0  # ever
    jobs_placed: int = 0  # ever


class Signs(msgspec.Struct, frozen=True):
    """What is seen at one instant; the manager's beat is 0 when it cannot be read."""

    manager_beat_at_ns: int
    workers: Mapping[int, WorkerSigns]  # those whose page can be read
    is_redis_unfit: bool = False


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What is expected."""

    worker_count: int
    stale_ns: int
    needs_redis: bool


class Check(msgspec.Struct, frozen=True):
    """One of the five; the reason is empty when all is well, and a warning when it is ok."""

    name: str
    ok: bool
    reason: str = ""


class Verdict(msgspec.Struct, frozen=True):
    """All checks."""

    checks: tuple[Check, ...]

    @property
    def is_ready(self) -> bool:
        """Does every check hold?"""
        return all(check.ok for check in self.checks)

    @property
    def reasons(self) -> list[str]:
        """Why not."""
        return [check.reason for check in self.checks if not check.ok]


NOT_LOOKED = Verdict((Check("start", False, "nobody has looked at the processes yet"),))


class _Submits(msgspec.Struct):
    """How the submits of one worker fare."""

    failed: int
    placed: int
    failing_since_ns: int = 0  # 0: they do not
    failed_at_ns: int = 0

    def see(self, now_ns: int, signs: WorkerSigns) -> None:
        failed, placed = signs.submits_failed - self.failed, signs.jobs_placed - self.placed
        self.failed, self.placed = signs.submits_failed, signs.jobs_placed
        if failed < 0 or placed < 0:  # a page that was made anew
            return
        if failed > placed:
            self.failing_since_ns = self.failing_since_ns or now_ns
            self.failed_at_ns = now_ns
        elif placed or now_ns - self.failed_at_ns > QUIET_NS:
            self.failing_since_ns = 0

    @property
    def is_failing(self) -> bool:
        since_ns = self.failing_since_ns
        return bool(since_ns) and self.failed_at_ns - since_ns >= FAILING_NS


class HealthJudge:
    """Looks again and again; `verdict` is that of the last look."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._submits: dict[int, _Submits] = {}  # by worker
        self._looked_at_ns = 0
        self.verdict = NOT_LOOKED

    def look(self, now_ns: int, signs: Signs) -> Verdict:
        """Judge by what is seen now."""
        has_slept = now_ns - self._looked_at_ns > SILENT_NS
        self._looked_at_ns = now_ns
        for number, seen in signs.workers.items():
            submits = self._submits.setdefault(
                number, _Submits(seen.submits_failed, seen.jobs_placed)
            )
            submits.see(now_ns, seen)
        if has_slept and self.verdict is not NOT_LOOKED:
            return self.verdict  # those who were asleep with us have had no time to say anything
        self.verdict = Verdict(
            (
                self._manager(now_ns, signs.manager_beat_at_ns),
                self._workers(now_ns, signs.workers),
                self._draining(signs.workers),
                self._redis(signs),
                self._submitting(signs.workers),
            )
        )
        return self.verdict

    def _manager(self, now_ns: int, beat_at_ns: int) -> Check:
        if not beat_at_ns:
            return Check("manager", False, "the manager has published nothing")
        age_ns = now_ns - beat_at_ns
        return _check("manager", age_ns <= self._rules.stale_ns, f"silent for {_s(age_ns)}")

    def _workers(self, now_ns: int, workers: Mapping[int, WorkerSigns]) -> Check:
        silent = []
        for number in range(self._rules.worker_count):
            beat_at_ns = workers[number].beat_at_ns if number in workers else 0
            if not beat_at_ns:
                silent.append(f"worker {number} shows nothing")
            elif now_ns - beat_at_ns > SILENT_NS:
                silent.append(f"worker {number} is silent for {_s(now_ns - beat_at_ns)}")
        if len(silent) == self._rules.worker_count:
            silent.insert(0, "no worker answers")
        return _check("workers", not silent, "; ".join(silent))

    def _draining(self, workers: Mapping[int, WorkerSigns]) -> Check:
        told = [str(number) for number, seen in workers.items() if seen.is_draining]
        return _check("draining", not told, f"told to stop: worker {', '.join(told)}")

    def _redis(self, signs: Signs) -> Check:
        down = any(seen.is_redis_down for seen in signs.workers.values())
        if self._rules.needs_redis and down:
            words = "it does not answer, and nothing is taken without it (redis.policy fail_closed)"
            return _check("redis", False, words)
        return Check("redis", True, DROPS_KEYS if signs.is_redis_unfit else "")

    def _submitting(self, workers: Mapping[int, WorkerSigns]) -> Check:
        failing = [str(n) for n in workers if self._submits[n].is_failing]
        words = f"most fail for 2 s and longer at worker {', '.join(failing)}"
        return _check("submits", not failing, words)


def _check(name: str, ok: bool, words: str) -> Check:
    return Check(name, ok, "" if ok else f"{name}: {words}")


def _s(age_ns: int) -> str:
    return f"{age_ns / SECOND_NS:.1f} s"
