"""The contract of both backings about one binding: who has it, until when, and how it ends."""

import pytest
from coordination.asking import ALICE, BOB, BUCKET, KEY, LEASE_MS, Asked, bind, bound, opened

from pointsman_wire.coordination.keys import bucket_of
from pointsman_wire.coordination.requests import (
    End,
    Ended,
    Held,
    Kept,
    KeptFound,
    Lookup,
    Move,
    Moved,
    Owner,
    Release,
    Renew,
    Renewed,
    RequestKey,
)


def end(owner: Owner, fence: int, **others: object) -> End:
    values: dict[str, object] = {"number": 20, "key": KEY, "owner": owner, "fence": fence}
    values |= {"ok": True, "keep_s": 300.0, **others}
    return End(**values)  # type: ignore[arg-type]


async def ended(asked: Asked, request: End | Release) -> str:
    (answer,) = await asked.ask(request)
    assert isinstance(answer, Ended), answer
    return answer.outcome


async def test_the_same_key_gives_one_job_whoever_asks(asked: Asked) -> None:
    """I2, N11: the first wins, itself again or another follows it."""
    await opened(asked)
    first = await bound(asked, bind(ALICE))
    assert (first.outcome, first.job_id, first.owner) == ("won", "job-of-alice", ALICE)
    again = await bound(asked, bind(ALICE))
    assert (again.outcome, again.job_id, again.fence) == ("mine", "job-of-alice", 1)
    other = await bound(asked, bind(BOB))
    assert (other.outcome, other.job_id, other.owner) == ("follows", "job-of-alice", ALICE)


async def test_another_body_is_a_conflict_while_it_runs_and_after(asked: Asked) -> None:
    """N11: the same key with another payload is not the same request."""
    await opened(asked)
    await bound(asked, bind(ALICE))
    assert (await bound(asked, bind(BOB, body=5))).outcome == "conflict"
    assert (await bound(asked, bind(ALICE, body=5))).outcome == "conflict"
    await asked.ask(end(ALICE, 1))
    assert (await bound(asked, bind(BOB, body=5))).outcome == "conflict"


async def test_keys_of_other_tenants_and_sessions_are_other_keys(asked: Asked) -> None:
    """A4: a tenant cannot reach, or probe for, what another has."""
    keys = [KEY, RequestKey("acme", "s-2", "r-1"), RequestKey("ot\x00her", 's-1"', "r-1")]
    for number, key in enumerate(keys):
        bucket = bucket_of(key)
        if number == 0 or bucket != BUCKET:
            await opened(asked, bucket)
        assert (await bound(asked, bind(ALICE, key=key, job_id=f"job-{number}"))).outcome == "won"


async def test_a_lapsed_lease_is_taken_over_under_the_same_job_with_a_higher_fence(
    asked: Asked,
) -> None:
    """I3, T26: the former owner is refused from then on, whatever it believes."""
    await opened(asked)
    await bound(asked, bind(ALICE, fence=4))
    asked.pass_time(LEASE_MS - 5_000)
    assert (await bound(asked, bind(BOB))).outcome == "follows"
    asked.pass_time(5_000)
    assert (await bound(asked, Lookup(number=11, key=KEY, owner=BOB))).outcome == "lapsed"
    taken = await bound(asked, bind(BOB, fence=2))
    assert (taken.outcome, taken.job_id, taken.fence) == ("taken_over", "job-of-alice", 5)
    assert taken.owner == BOB
    assert await ended(asked, end(ALICE, 4)) == "fenced"
    assert await ended(asked, Release(number=21, key=KEY, owner=ALICE, fence=4)) == "fenced"
    assert (await bound(asked, bind(ALICE))).outcome == "follows"


async def test_renewing_keeps_what_is_ones_own_and_tells_what_is_not(asked: Asked) -> None:
    """R9, T26: by its fence; who was away for longer than its lease does not get it back so."""
    await opened(asked)
    await bound(asked, bind(ALICE))
    asked.pass_time(LEASE_MS - 5_000)
    gone = RequestKey("acme", "s-1", "never")
    held = (Held(KEY, 1), Held(gone, 1))
    (renewed,) = await asked.ask(Renew(number=30, bucket=BUCKET, owner=ALICE, held=held))
    assert isinstance(renewed, Renewed)
    assert (renewed.outcome, renewed.lost, renewed.missing) == ("done", (), (gone,))
    asked.pass_time(LEASE_MS - 5_000)
    assert (await bound(asked, bind(BOB))).outcome == "follows"
    asked.pass_time(5_000)
    assert (await bound(asked, bind(BOB))).outcome == "taken_over"
    (renewed,) = await asked.ask(Renew(number=31, bucket=BUCKET, owner=ALICE, held=held[:1]))
    assert isinstance(renewed, Renewed)
    assert renewed.lost == (KEY,)


async def test_a_lease_that_its_owner_has_end_is_taken_over_at_once_under_the_same_job(
    asked: Asked,
) -> None:
    """R9: an instance that stops; also what is kept to be run elsewhere is listed at once."""
    await opened(asked)
    await bound(asked, bind(ALICE, keep=b"all it takes"))
    held = (Held(KEY, 1),)
    (told,) = await asked.ask(Renew(number=32, bucket=BUCKET, owner=ALICE, held=held, lapses=True))
    assert isinstance(told, Renewed)
    assert (told.lost, told.missing) == ((), ())
    (kept,) = await asked.ask(Kept(number=33, bucket=BUCKET, owner=BOB))
    assert isinstance(kept, KeptFound)
    assert kept.keys == (KEY,)
    taken = await bound(asked, bind(BOB))
    assert (taken.outcome, taken.job_id) == ("taken_over", "job-of-alice")
    assert (await bound(asked, bind(ALICE))).outcome == "follows"


@pytest.mark.parametrize("result", [None, b"", b"\x00\xffresult"])
async def test_an_ended_job_is_remembered_for_its_window_with_its_result(
    asked: Asked, result: bytes | None
) -> None:
    await opened(asked)
    await bound(asked, bind(ALICE, keep=b"options"))
    assert await ended(asked, end(ALICE, 1, result=result)) == "done"
    assert await ended(asked, end(ALICE, 1, ok=False)) == "done"  # repeated: nothing changes
    found = await bound(asked, bind(BOB))
    assert (found.outcome, found.ok, found.result) == ("ended", True, result)
    assert (found.state, found.owner, found.keep) == ("RELEASED", ALICE, None)
    asked.pass_time(290_000)
    assert (await bound(asked, bind(BOB))).outcome == "ended"
    asked.pass_time(10_000)
    assert (await bound(asked, bind(BOB))).outcome == "won"


async def test_an_owner_that_goes_leaves_the_result_of_an_ended_job(asked: Asked) -> None:
    await opened(asked)
    await bound(asked, bind(ALICE))
    assert await ended(asked, end(ALICE, 1)) == "done"
    assert await ended(asked, end(BOB, 1, result=b"forged")) == "fenced"
    assert (await bound(asked, bind(BOB))).result is None
    assert await ended(asked, end(ALICE, 1, ok=False, result=b"left")) == "done"
    found = await bound(asked, bind(BOB))
    assert (found.outcome, found.ok, found.result) == ("ended", True, b"left")
    asked.pass_time(290_000)
    assert (await bound(asked, bind(BOB))).outcome == "ended"
    asked.pass_time(10_000)
    assert (await bound(asked, bind(BOB))).outcome == "won", "its window is as it was"


async def test_a_released_key_is_free_at_once_and_an_ended_one_is_not(asked: Asked) -> None:
    await opened(asked)
    release = Release(number=22, key=KEY, owner=ALICE, fence=1)
    assert await ended(asked, release) == "missing"
    await bound(asked, bind(ALICE))
    assert await ended(asked, release) == "done"
    assert (await bound(asked, bind(BOB))).outcome == "won"
    assert await ended(asked, end(BOB, 1)) == "done"
    assert await ended(asked, Release(number=23, key=KEY, owner=BOB, fence=1)) == "fenced"


async def test_what_another_needs_is_kept_listed_when_lapsed_and_handed_over(asked: Asked) -> None:
    """R9: what a dead instance held is found by whoever looks, oldest first."""
    await opened(asked)
    await bound(asked, bind(ALICE, keep=b"options and payload"))
    kept = Kept(number=40, bucket=BUCKET, owner=BOB)
    (none,) = await asked.ask(kept)
    assert isinstance(none, KeptFound)
    assert none.keys == ()
    asked.pass_time(LEASE_MS)
    (found,) = await asked.ask(kept)
    assert isinstance(found, KeptFound)
    assert found.keys == (KEY,)
    looked = await bound(asked, Lookup(number=41, key=KEY, owner=BOB))
    assert (looked.outcome, looked.keep) == ("lapsed", b"options and payload")
    taken = await bound(asked, bind(BOB, body=looked.body))
    assert (taken.outcome, taken.keep) == ("taken_over", b"options and payload")
    assert await ended(asked, end(BOB, taken.fence)) == "done"
    asked.pass_time(LEASE_MS)
    (none,) = await asked.ask(kept)
    assert isinstance(none, KeptFound)
    assert none.keys == ()


async def test_the_shared_states_move_along_the_diagram_and_never_back(asked: Asked) -> None:
    """I11: moves are idempotent, ask for the attempt, and end once."""
    await opened(asked)

    async def move(to: str, attempt: int, fence: int = 1) -> tuple[str, str]:
        request = Move(number=50, key=KEY, owner=ALICE, fence=fence, attempt=attempt, to=to)  # type: ignore[arg-type]
        (moved,) = await asked.ask(request)
        assert isinstance(moved, Moved), moved
        return moved.outcome, moved.state

    assert await move("DISPATCHED", 1) == ("missing", "CREATED")
    await bound(asked, bind(ALICE))
    assert await move("DISPATCHED", 1) == ("refused", "CREATED")
    assert await move("CREATED", 1) == ("done", "CREATED")
    assert await move("DISPATCHED", 1) == ("done", "DISPATCHED")
    assert await move("RUNNING", 1) == ("done", "RUNNING")
    assert await move("ACCEPTED", 1) == ("done", "RUNNING")
    assert await move("CREATED", 1) == ("done", "RUNNING")
    assert await move("RUNNING", 1, fence=2) == ("fenced", "RUNNING")
    assert await move("RELEASED", 1) == ("refused", "RUNNING")
    assert await move("CREATED", 2) == ("done", "CREATED")
    assert await move("RUNNING", 1) == ("refused", "CREATED")
    await asked.ask(end(ALICE, 1, released=False))
    assert await move("RUNNING", 2) == ("done", "FINISHED")
    assert await move("CREATED", 3) == ("refused", "FINISHED")
    assert await move("RELEASED", 2) == ("done", "RELEASED")
    assert await move("RELEASED", 2) == ("done", "RELEASED")
