"""The model by itself: the faults that only it can show without a server."""

from redis_model.model import Model

from pointsman_wire.coordination.keys import bucket_of
from pointsman_wire.coordination.requests import (
    Bind,
    Bound,
    Freeze,
    Lookup,
    Owner,
    RequestKey,
    Thaw,
    Touched,
)

ALICE = Owner("alice", "uid-a", 0)
KEY = RequestKey("acme", "s-1", "r-1")
BUCKET = bucket_of(KEY)


def opened() -> Model:
    model = Model()
    frozen, open_ = model.answer(
        [
            Freeze(number=1, bucket=BUCKET, owner=ALICE, proposal="one"),
            Thaw(
                number=2,
                bucket=BUCKET,
                owner=ALICE,
                generation=f"{model.store.reign}:one",
                members=(),
            ),
        ],
        1_000,
    )
    assert isinstance(frozen, Touched)
    assert isinstance(open_, Touched)
    assert (frozen.state, open_.state) == ("frozen", "open")
    return model


def test_a_lost_answer_is_unknown_and_a_lookup_tells_what_became_of_it() -> None:
    """R2: the request was done, and only the answer was lost."""
    model = opened()
    bind = Bind(number=3, key=KEY, job_id="job-1", body=7, owner=ALICE, fence=1)
    model.deaf = True
    assert [a.number for a in model.answer([bind], 2_000)] == [3]
    model.deaf = False
    (found,) = model.answer([Lookup(number=4, key=KEY, owner=ALICE)], 2_001)
    assert isinstance(found, Bound)
    assert (found.outcome, found.job_id) == ("mine", "job-1")


def test_nothing_happens_while_it_is_down() -> None:
    model = opened()
    model.down = "gone"
    (bound,) = model.answer(
        [Bind(number=3, key=KEY, job_id="job-1", body=7, owner=ALICE, fence=1)], 2_000
    )
    assert isinstance(bound, Bound)
    assert (bound.outcome, bound.error) == ("down", "gone")
    model.down = ""
    (found,) = model.answer([Lookup(number=4, key=KEY, owner=ALICE)], 2_001)
    assert isinstance(found, Bound)
    assert found.outcome == "missing"
