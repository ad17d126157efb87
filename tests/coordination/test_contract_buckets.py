"""The contract of both backings about buckets: what forgets is frozen until all have published."""

from coordination.asking import ALICE, BOB, BUCKET, KEY, Asked, bind, bound, opened

from pointsman_wire.coordination.requests import (
    Answer,
    Binding,
    Freeze,
    Held,
    Lookup,
    Owner,
    Renew,
    Renewed,
    Republish,
    Republished,
    Request,
    Seen,
    Thaw,
    Touch,
    Touched,
)
from pointsman_wire.coordination.terms import GAP_MS, MEMBERS_MAX


async def touched(asked: Asked, request: Request) -> Touched:
    (answer,) = await asked.ask(request)
    assert isinstance(answer, Touched), answer
    return answer


def touch(owner: Owner, seen: Answer | None = None) -> Touch:
    heard = Seen(seen.generation, seen.counter) if seen else Seen()
    return Touch(number=60, bucket=BUCKET, owner=owner, seen=heard)


def freeze(owner: Owner, proposal: str, against: str = "") -> Freeze:
    return Freeze(number=61, bucket=BUCKET, owner=owner, proposal=proposal, against=against)


def thaw(owner: Owner, generation: str, *members: Owner, overdue: bool = False) -> Thaw:
    return Thaw(
        number=62,
        bucket=BUCKET,
        owner=owner,
        generation=generation,
        members=tuple(member.member for member in members),
        overdue=overdue,
    )


def republish(owner: Owner, generation: str, *bindings: Binding, last: bool = True) -> Republish:
    return Republish(
        number=63,
        bucket=BUCKET,
        generation=generation,
        owner=owner,
        bindings=bindings,
        last=last,
    )


def binding(**others: object) -> Binding:
    values: dict[str, object] = {"key": KEY, "job_id": "job-of-alice", "body": 7 << 32 | 1234}
    return Binding(**{**values, "fence": 1, **others})  # type: ignore[arg-type]


async def published(asked: Asked, request: Republish) -> Republished:
    (answer,) = await asked.ask(request)
    assert isinstance(answer, Republished), answer
    return answer


async def test_a_missing_bucket_binds_nothing_until_it_was_frozen_and_thawed(asked: Asked) -> None:
    """R3: a flushed Redis knows of no job, so it must not say that there is none."""
    assert (await touched(asked, touch(ALICE))).state == "missing"
    assert (await bound(asked, bind(ALICE))).outcome == "frozen"
    assert (await bound(asked, Lookup(number=1, key=KEY, owner=ALICE))).outcome == "frozen"
    await opened(asked)
    assert (await bound(asked, bind(ALICE))).outcome == "won"


async def test_every_answer_brings_the_generation_and_raises_the_counter(asked: Asked) -> None:
    generation = await opened(asked)
    first, second = await asked.ask(bind(ALICE), touch(ALICE))
    assert first.generation == second.generation == generation
    assert second.counter == first.counter + 1
    assert (await touched(asked, touch(BOB))).counter == 1


async def test_an_owner_whose_counter_went_back_finds_the_bucket_forgotten(asked: Asked) -> None:
    """R5: the very call that would act on the forgetful copy is the one that notices."""
    generation = await opened(asked)
    await bound(asked, bind(ALICE))
    ahead = Seen(generation, 1_000)
    assert (await bound(asked, bind(BOB, seen=Seen(generation, 0)))).outcome == "follows"
    assert (await bound(asked, bind(ALICE, seen=ahead))).outcome == "frozen"
    assert (await touched(asked, touch(BOB))).state == "missing"


async def test_who_has_another_generation_must_publish_first(asked: Asked) -> None:
    generation = await opened(asked)
    assert (await bound(asked, bind(BOB, seen=Seen("older", 5)))).outcome == "frozen"
    assert (await bound(asked, bind(BOB, seen=Seen(generation, 0)))).outcome == "won"


async def test_of_those_who_freeze_at_once_one_wins_and_the_others_join(asked: Asked) -> None:
    old = await opened(asked)
    first = await touched(asked, freeze(ALICE, "second", against=old))
    joined = await touched(asked, freeze(BOB, "third", against=old))
    assert first.generation == joined.generation != old
    assert (first.state, joined.state) == ("frozen", "frozen")
    assert (await bound(asked, bind(ALICE))).outcome == "frozen"


async def test_a_bucket_thaws_when_all_members_have_published(asked: Asked) -> None:
    """R3: before that somebody may know of a job of a key that looks free."""
    generation = (await touched(asked, freeze(ALICE, "x"))).generation
    await published(asked, republish(ALICE, generation))
    waits = await touched(asked, thaw(ALICE, generation, ALICE, BOB))
    assert (waits.state, waits.waits_for) == ("frozen", ("bob/1",))
    await published(asked, republish(BOB, generation, last=False))
    assert (await touched(asked, thaw(ALICE, generation, ALICE, BOB))).state == "frozen"
    await published(asked, republish(BOB, generation))
    assert (await touched(asked, thaw(BOB, "another", ALICE, BOB))).state == "frozen"
    assert (await touched(asked, thaw(BOB, generation, ALICE, BOB))).state == "open"


async def test_a_bucket_that_waits_too_long_thaws_without_the_silent(asked: Asked) -> None:
    generation = (await touched(asked, freeze(ALICE, "x"))).generation
    thawed = await touched(asked, thaw(ALICE, generation, ALICE, BOB, overdue=True))
    assert (thawed.state, thawed.waits_for) == ("open", ("alice/0", "bob/1"))


async def test_published_bindings_stand_as_they_did(asked: Asked) -> None:
    """R1, R3: after the flush nobody else gets the key."""
    await opened(asked)
    await bound(asked, bind(ALICE))
    asked.flush()
    generation = (await touched(asked, freeze(ALICE, "x"))).generation
    done = await published(
        asked,
        republish(
            ALICE,
            generation,
            binding(fence=3, state="RUNNING", attempt=2, keep=b"kept"),
        ),
    )
    assert (done.outcome, done.lost) == ("done", ())
    await touched(asked, thaw(ALICE, generation, ALICE))
    assert (await bound(asked, bind(BOB))).outcome == "follows"
    mine = await bound(asked, bind(ALICE))
    assert (mine.outcome, mine.fence, mine.state, mine.attempt) == ("mine", 3, "RUNNING", 2)
    assert mine.keep == b"kept"


async def test_who_publishes_into_another_generation_is_behind(asked: Asked) -> None:
    assert (await published(asked, republish(ALICE, "x"))).outcome == "behind"
    generation = await opened(asked)
    behind = await published(asked, republish(ALICE, "x", binding()))
    assert (behind.outcome, behind.generation) == ("behind", generation)
    assert (await bound(asked, bind(BOB))).outcome == "won"


async def test_publishing_takes_nothing_from_who_has_it_rightly(asked: Asked) -> None:
    """I3: another job, or another owner with a higher fence, stands; a smaller fence does not."""
    generation = await opened(asked)
    await bound(asked, bind(BOB, fence=5))
    other = await published(asked, republish(ALICE, generation, binding()))
    assert other.lost == (KEY,)
    older = binding(job_id="job-of-bob", fence=4)
    assert (await published(asked, republish(ALICE, generation, older))).lost == (KEY,)
    same = binding(job_id="job-of-bob", fence=5)
    assert (await published(asked, republish(ALICE, generation, same))).lost == (KEY,)
    newer = binding(job_id="job-of-bob", fence=6)
    assert (await published(asked, republish(ALICE, generation, newer))).lost == ()
    assert (await bound(asked, bind(BOB))).outcome == "follows"


async def test_an_ended_binding_is_not_run_again_by_an_old_publication(asked: Asked) -> None:
    generation = await opened(asked)
    finished = binding(state="FINISHED", ok=True, keep_s=9.0, result=b"done")
    assert (await published(asked, republish(ALICE, generation, finished))).lost == ()
    assert (await published(asked, republish(ALICE, generation, binding()))).lost == ()
    found = await bound(asked, bind(BOB))
    assert (found.outcome, found.result, found.ok) == ("ended", b"done", True)


async def test_a_bucket_that_nobody_touched_for_long_counts_as_forgotten(asked: Asked) -> None:
    """R12: only a jump of the clock over this gap can take a living binding before its time."""
    await opened(asked)
    await bound(asked, bind(ALICE))
    asked.pass_time(GAP_MS - 5_000)
    assert (await touched(asked, touch(ALICE))).state == "open"
    asked.pass_time(GAP_MS + 1_000)
    assert (await bound(asked, bind(BOB))).outcome == "frozen"
    assert (await touched(asked, touch(ALICE))).state == "missing"


async def test_a_clock_that_jumps_by_days_brings_no_second_job(asked: Asked) -> None:
    """R12: the binding is gone before its time; the bucket says so before anybody wins it."""
    await opened(asked)
    await bound(asked, bind(ALICE))
    asked.pass_time(10 * 86_400_000)
    assert (await bound(asked, bind(BOB))).outcome == "frozen"
    generation = (await touched(asked, freeze(BOB, "x"))).generation
    await published(asked, republish(ALICE, generation, binding()))
    await published(asked, republish(BOB, generation))
    await touched(asked, thaw(BOB, generation, ALICE, BOB))
    assert (await bound(asked, bind(BOB))).job_id == "job-of-alice"


async def test_a_clock_that_goes_back_neither_takes_nor_keeps_for_ever(asked: Asked) -> None:
    """R12: the lease begins again when somebody asks."""
    await opened(asked)
    await bound(asked, bind(ALICE))
    asked.pass_time(-3_600_000)
    assert (await bound(asked, bind(BOB))).outcome == "follows"
    asked.pass_time(45_000)
    assert (await bound(asked, bind(BOB))).outcome == "taken_over"


async def test_a_bucket_with_too_many_members_is_made_anew(asked: Asked) -> None:
    """I9: names come and go; the bucket stays small."""
    await opened(asked)
    crowd = [Owner(f"i{n}", "u", 0) for n in range(MEMBERS_MAX - 1)]
    await asked.ask(*(touch(owner) for owner in crowd))
    assert (await touched(asked, touch(ALICE))).state == "open"
    assert (await touched(asked, touch(BOB))).state == "missing"


async def test_renewing_in_a_flushed_bucket_says_what_is_missing(asked: Asked) -> None:
    await opened(asked)
    asked.flush()
    request = Renew(number=64, bucket=BUCKET, owner=ALICE, held=(Held(KEY, 1),))
    (renewed,) = await asked.ask(request)
    assert isinstance(renewed, Renewed)
    assert (renewed.generation, renewed.missing) == ("", (KEY,))
