"""A small share of the fuzzing (N10, N13, S4, C4, C5): every target, some hundred cases each.

The cases are the same in every run; `make fuzz` goes on with new ones for as long as it may.
"""

import pytest
from fuzz.mutator import Mutator
from fuzz.targets import TARGETS

CASES = 250


@pytest.mark.parametrize("name", TARGETS)
def test_n13_bytes_made_from_good_ones_do_no_worse_than_be_refused(name: str) -> None:
    target = TARGETS[name]
    feed, seeds = target.make(), target.seeds()
    for seed in (*seeds, b"", b"\x00" * 64, b"\xff" * 64):
        feed(seed)
    mutator = Mutator(seeds, number=1)
    for _ in range(CASES):
        case = mutator.case()
        try:
            feed(case)
        except BaseException as error:
            error.add_note(f"the case: {case.hex()}")
            raise
