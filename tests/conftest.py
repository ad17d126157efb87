"""Puts this folder on the path, so that tests in the folders below find what they share.

Generated cases are the same in every run, so that a change is judged by what it changed; a
campaign with new ones is HYPOTHESIS_PROFILE=campaign, where a found case is printed to be kept.

What was collected before the first test lives to the end: the collector never walks it.  It is
300,000 objects, and each simulated cluster has all garbage collected before it begins.

Instances of tests are called t-PID-... or test-PID-... after the process that runs the test.  So
what a run left in shared memory that was killed itself, the next one knows and removes.
"""

import gc
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

COLLECTOR = gc.get_threshold()

settings.register_profile(
    "steady",
    derandomize=True,
    database=None,
    deadline=None,
    # Shrinking a long run of a state machine may take many minutes; the campaign shrinks.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("campaign", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


_OF_TESTS = re.compile(r"pointsman\.t(?:est)?-(?P<pid>[0-9]+)-.+")


def pytest_configure(config: pytest.Config) -> None:
    """SIGTERM ends a run as Ctrl-C does: what tests have started is ended, and cleared away.

    A run that goes on when its terminal is gone (nohup) ignores signals, and what is ignored its
    services would ignore, too; what is handled they have as it is by default.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    if not hasattr(config, "workerinput"):  # once, not in every process of pytest-xdist
        remove_abandoned_segments()


def remove_abandoned_segments() -> None:
    """Remove what tests of processes that are no more have left in shared memory."""
    for segment in Path("/dev/shm").glob("pointsman.t*"):
        named = _OF_TESTS.fullmatch(segment.name)
        if named is not None and not Path("/proc", named["pid"]).exists():
            segment.unlink(missing_ok=True)


def settle_collector() -> None:
    """Collect what is garbage, and let what is left out of it from now on."""
    gc.set_threshold(*COLLECTOR)
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def pytest_collection_finish() -> None:
    """All tests are there."""
    settle_collector()


@pytest.fixture(autouse=True, scope="module")
def collector_as_it_was() -> Iterator[None]:
    """Processes that are run inside this one set the collector up for a life of jobs.

    For a life of tests that is wrong: what they leave behind would hardly ever be looked at.
    """
    frozen = gc.get_freeze_count()
    yield
    if gc.get_threshold() != COLLECTOR or gc.get_freeze_count() > frozen:
        settle_collector()
