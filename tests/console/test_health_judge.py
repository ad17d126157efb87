"""The judge of health on a virtual clock: what it says is true at every look."""

import pytest

from pointsman_sched.console.observing.health import (
    LOOK_NS,
    QUIET_NS,
    SECOND_NS,
    HealthJudge,
    Rules,
    Signs,
    Verdict,
    WorkerSigns,
)

START_NS = 1_000 * SECOND_NS


class Watch:
    """Two workers and a manager, all in good health until told otherwise; looks twice a second."""

    def __init__(self, *, needs_redis: bool = False) -> None:
        rules = Rules(worker_count=2, stale_ns=5 * SECOND_NS, needs_redis=needs_redis)
        self.judge = HealthJudge(rules)
        self.now_ns = START_NS
        self.manager_silent = False
        self.manager_beat_at_ns = START_NS
        self.workers = {0: WorkerSigns(beat_at_ns=0), 1: WorkerSigns(beat_at_ns=0)}
        self.silent: set[int] = set()
        self.is_redis_unfit = False
        self.change(0)
        self.change(1)
        self.look()

    def change(self, worker: int, **signs: int | bool) -> None:
        before = self.workers[worker]
        self.workers[worker] = WorkerSigns(
            **{name: signs.get(name, getattr(before, name)) for name in before.__struct_fields__}
        )

    def look(self, after_ns: int = LOOK_NS) -> Verdict:
        self.now_ns += after_ns
        if not self.manager_silent:
            self.manager_beat_at_ns = self.now_ns
        for worker in {*self.workers} - self.silent:
            self.change(worker, beat_at_ns=self.now_ns)
        signs = Signs(self.manager_beat_at_ns, dict(self.workers), self.is_redis_unfit)
        return self.judge.look(self.now_ns, signs)

    def pass_time(self, seconds: float) -> Verdict:
        verdict = self.judge.verdict
        for _ in range(round(seconds * SECOND_NS / LOOK_NS)):
            verdict = self.look()
        return verdict

    def fail(self, seconds: float, *, failed: int = 3, placed: int = 0) -> Verdict:
        verdict = self.judge.verdict
        for _ in range(round(seconds * SECOND_NS / LOOK_NS)):
            seen = self.workers[0]
            self.change(
                0,
                submits_failed=seen.submits_failed + failed,
                jobs_placed=seen.jobs_placed + placed,
            )
            verdict = self.look()
        return verdict


def test_a_service_in_good_health_is_ready_and_stays_so() -> None:
    assert Watch().pass_time(60).is_ready


def test_nobody_is_ready_before_a_look() -> None:
    rules = Rules(worker_count=1, stale_ns=1, needs_redis=False)
    assert not HealthJudge(rules).verdict.is_ready


def test_a_silent_manager_is_told_of_once_its_snapshot_is_stale() -> None:
    watch = Watch()
    watch.manager_silent = True
    assert watch.pass_time(5).is_ready
    verdict = watch.pass_time(1)
    assert verdict.reasons == ["manager: silent for 6.0 s"]
    watch.manager_silent = False
    assert watch.look().is_ready


def test_one_silent_worker_is_enough_and_no_worker_at_all_is_said_so() -> None:
    watch = Watch()
    watch.silent = {1}
    assert watch.pass_time(2).is_ready
    assert watch.pass_time(1).reasons == ["workers: worker 1 is silent for 3.0 s"]
    watch.silent = {0, 1}
    assert "no worker answers" in watch.pass_time(3).reasons[0]
    del watch.workers[1]
    assert "worker 1 shows nothing" in watch.look().reasons[0]


def test_a_worker_that_was_told_to_stop_takes_readiness_away() -> None:
    watch = Watch()
    watch.change(1, is_draining=True)
    assert watch.look().reasons == ["draining: told to stop: worker 1"]


@pytest.mark.parametrize("needs_redis", [True, False])
def test_a_redis_that_is_down_matters_where_nothing_is_taken_without_it(needs_redis: bool) -> None:
    """I14: the node of a fleet that refuses all that is new says so."""
    watch = Watch(needs_redis=needs_redis)
    watch.change(0, is_redis_down=True)
    assert watch.look().is_ready is not needs_redis


def test_a_redis_that_may_drop_keys_is_told_of_and_takes_no_readiness_away() -> None:
    watch = Watch(needs_redis=True)
    watch.is_redis_unfit = True
    verdict = watch.look()
    assert verdict.is_ready
    assert verdict.reasons == []
    assert [check.name for check in verdict.checks if "noeviction" in check.reason] == ["redis"]
    watch.is_redis_unfit = False
    assert not any(check.reason for check in watch.look().checks)


@pytest.mark.parametrize(("failed", "placed"), [(1, 0), (1000, 0), (10, 9)])
def test_i14_submits_that_fail_for_two_seconds_are_never_ok(failed: int, placed: int) -> None:
    """I14: at two seconds at the latest, and for as long as they fail."""
    watch = Watch()
    assert watch.fail(1, failed=failed, placed=placed).is_ready
    verdict = watch.fail(1, failed=failed, placed=placed)
    assert verdict.reasons == ["submits: most fail for 2 s and longer at worker 0"]
    for _ in range(100):
        assert not watch.fail(1, failed=failed, placed=placed).is_ready
    assert watch.fail(0.5, failed=0, placed=1).is_ready, "they succeed again"


def test_a_few_failures_among_many_jobs_and_a_single_one_are_borne() -> None:
    watch = Watch()
    assert watch.fail(60, failed=3, placed=100).is_ready
    watch.pass_time(60)
    assert watch.fail(0.5, failed=1).is_ready
    assert watch.pass_time(60).is_ready


def test_when_nobody_submits_any_more_failures_are_held_against_it_for_a_while_only() -> None:
    watch = Watch()
    assert not watch.fail(5).is_ready
    assert not watch.pass_time(QUIET_NS / SECOND_NS - 1).is_ready
    assert watch.pass_time(2).is_ready


def test_counts_that_begin_anew_are_no_failures() -> None:
    watch = Watch()
    watch.fail(1, failed=0, placed=50)
    watch.change(0, jobs_placed=0)
    assert watch.pass_time(5).is_ready


def test_who_has_slept_judges_nobody_in_that_look() -> None:
    watch = Watch()
    watch.silent, watch.manager_silent = {0, 1}, True
    assert watch.look(60 * SECOND_NS).is_ready
    assert not watch.look().is_ready
