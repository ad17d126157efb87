"""Test of the test (L8): bugs that are put in on purpose must be found, and by their name."""

import pytest
from mutants.__main__ import caught_by_test
from mutants.table import (
    CALM,
    NAMED,
    WEATHER,
    Named,
    Weather,
    broken_by,
    caught_in_weather,
)

from pointsman_sim.settings import FAULTS, Settings

# Of those that a test finds, each in a process of its own; `make mutants` tries them all.
SHARE = NAMED[:2]


@pytest.mark.parametrize("mutant", WEATHER, ids=lambda mutant: mutant.bug.__name__)
def test_a_seeded_bug_is_found_by_the_promise_that_it_breaks(mutant: Weather) -> None:
    assert caught_in_weather(mutant) in mutant.promises


@pytest.mark.parametrize("mutant", SHARE, ids=lambda mutant: mutant.bug.__name__)
def test_a_seeded_bug_is_found_by_the_test_that_is_named_for_it(mutant: Named) -> None:
    assert caught_by_test(mutant) == mutant.test.partition("::")[2]


def test_there_are_enough_of_them() -> None:
    """Twenty at least, each once."""
    names = {mutant.bug.__name__ for mutant in (*WEATHER, *NAMED)}
    assert len(names) == len(WEATHER) + len(NAMED) >= 20


def test_without_a_bug_the_same_seeds_find_nothing() -> None:
    for faults in (CALM, FAULTS):
        settings = Settings(seed=0, steps=4_000, duration_s=8.0, faults=faults, faults_per_s=3.0)
        assert broken_by(settings, tries=2) == ""
