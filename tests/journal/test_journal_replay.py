"""What a worker begins with: the last word on each thing, and always a moment of the past."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from journal.journal_samples import (
    OWNER,
    accepted,
    dispatched,
    ended,
    ended_of,
    files_of,
    header,
    jobs_of,
    read,
    record,
    segment_of,
    session,
)
from msgspec.structs import replace

from pointsman_wire.session_messages import Result
from pointsman_workers.journal.entries import (
    AnyEntry,
    JobAccepted,
    JobEnded,
    JobKept,
    Recovered,
    ResultsRead,
    SessionEnded,
)
from pointsman_workers.journal.records import HEADER_BYTES
from pointsman_workers.journal.replay import FoundAcceptance
from pointsman_workers.journal.replay import replay as replay_files


def kept(job: int) -> JobKept:
    result = Result(request_id=f"r-{job}", job_id=f"job-{job}", number=job)
    return JobKept(job, 1, ("t", "s-1", f"r-{job}"), f"job-{job}", 7, result, b"output")


def recovered(*turns: Sequence[AnyEntry]) -> Recovered:
    return read(segment_of(turns)).recovered


def test_an_open_job_has_its_last_dispatch_and_all_of_its_acceptance() -> None:
    found = recovered([session(), accepted(1)], [dispatched(1, 4)], [dispatched(1, 9)])
    assert found.jobs[0].accepted == accepted(1)
    assert found.jobs[0].dispatched == dispatched(1, 9)
    assert (found.last_job, found.last_session) == (1, 1)


def test_acceptances_are_read_as_they_are_written() -> None:
    """The two readers of one entry have the same fields in the same order."""
    assert FoundAcceptance.__struct_fields__ == JobAccepted.__struct_fields__
    tag = FoundAcceptance.__struct_config__.tag
    assert tag == JobAccepted.__struct_config__.tag


def test_ended_jobs_come_in_the_order_of_their_ends_with_what_identifies_them() -> None:
    found = recovered([accepted(1), accepted(2), accepted(3)], [ended(3)], [ended(1)])
    assert ended_of(found) == [3, 1]
    first = found.ended[0].kept
    assert (first.key, first.job_id, first.output) == (("t", "s-1", "r-3"), "job-3", b"output")
    assert first.result == ended(3).result


def test_a_forgotten_job_leaves_nothing_and_its_key_is_free() -> None:
    found = recovered([accepted(1)], [replace(ended(1), is_forgotten=True)])
    assert (found.jobs, found.ended, found.last_job) == ([], [], 1)


def test_an_end_that_does_not_count_after_all_leaves_nothing_of_what_was_carried_forward() -> None:
    found = recovered([accepted(1)], [ended(1)], [kept(1)], [replace(ended(1), is_forgotten=True)])
    assert (found.jobs, found.ended) == ([], [])
    found = recovered([kept(1)], [replace(ended(1), is_forgotten=True)])
    assert (found.jobs, found.ended) == ([], [])


def test_an_ended_job_is_not_opened_again_by_what_was_carried_forward() -> None:
    assert jobs_of(recovered([accepted(1)], [ended(1)], [accepted(1), dispatched(1)])) == []


def test_a_job_that_is_carried_forward_while_it_waits_is_not_dispatched() -> None:
    found = recovered([accepted(1)], [dispatched(1)], [accepted(1)])
    assert found.jobs[0].dispatched is None


def test_sessions_have_their_newest_numbers_and_ended_ones_are_gone() -> None:
    found = recovered(
        [session(1), session(2)],
        [ResultsRead(1, 7), ResultsRead(1, 5), ResultsRead(9, 1)],
        [SessionEnded(2)],
    )
    assert [s.opened.session for s in found.sessions] == [1]
    assert found.sessions[0].opened.read == 7
    assert found.last_session == 9


def test_each_thing_names_the_oldest_segment_that_it_needs() -> None:
    first = segment_of([[session(), accepted(1), accepted(2), accepted(3)]])
    second = header(2, len(first)) + record([dispatched(1), ended(2), kept(3), session()])
    found = read(first, second).recovered
    assert [(j.accepted.job, j.segment) for j in found.jobs] == [(1, 1)]
    assert [(r.kept.job, r.segment) for r in found.ended] == [(3, 2), (2, 1)]
    assert [s.segment for s in found.sessions] == [2]


def test_of_too_many_ended_jobs_the_newest_are_recovered() -> None:
    turns: list[list[AnyEntry]] = [[accepted(job), ended(job)] for job in range(1, 101)]
    assert ended_of(read(segment_of(turns), ended_max=10).recovered) == list(range(91, 101))
    turns = [[kept(job), kept(job)] for job in range(1, 101)]
    assert ended_of(read(segment_of(turns), ended_max=10).recovered) == list(range(91, 101))


def test_dropping_segments_whose_things_were_carried_loses_nothing() -> None:
    first = segment_of([[session(), accepted(1), dispatched(1), accepted(2), ended(2)]])
    second = header(2, len(first)) + record([session(), accepted(1), dispatched(1), kept(2)])
    both = read(first, second).recovered
    alone = replay_files(files_of(first, second)[1:], OWNER, ended_max=9, accept_loss=False)
    assert (jobs_of(both), ended_of(both)) == ([1], [2])
    assert alone.recovered.jobs == both.jobs
    assert alone.recovered.sessions == both.sessions
    assert [r.kept for r in alone.recovered.ended] == [kept(2)]


def test_an_empty_journal_is_a_beginning() -> None:
    found = read()
    assert (found.last_segment, found.last_bytes, found.recovered) == (
        0,
        0,
        Recovered(is_same_boot=True),
    )


JOBS = st.integers(1, 6)
ENTRIES = st.one_of(
    JOBS.map(accepted),
    st.builds(dispatched, JOBS, st.integers(1, 50)),
    JOBS.map(ended),
    JOBS.map(kept),
    JOBS.map(lambda job: replace(ended(job), is_forgotten=True)),
    st.integers(1, 3).map(session),
    st.integers(1, 3).map(SessionEnded),
    st.builds(ResultsRead, st.integers(1, 3), st.integers(0, 9)),
)
TURNS = st.lists(st.lists(ENTRIES, min_size=1, max_size=4), max_size=12)


@settings(max_examples=120, deadline=None)
@given(turns=TURNS, split=st.integers(0, 12), data=st.data())
def test_whatever_was_written_and_wherever_it_is_cut_a_prefix_of_the_turns_comes_back(
    turns: list[list[AnyEntry]], split: int, data: st.DataObject
) -> None:
    """C4, I1: never a part of a turn, never one turn without those before it."""
    first = segment_of(turns[:split])
    second = header(2, len(first)) + b"".join(map(record, turns[split:]))
    cut = data.draw(st.integers(HEADER_BYTES, len(second)))
    found = read(first, second[:cut] + bytes(64))
    whole = split
    at = HEADER_BYTES
    for turn in turns[split:]:
        at += len(record(turn))
        whole += at <= cut
    expected = read(first, header(2, len(first)) + b"".join(map(record, turns[split:whole])))
    assert found.recovered == expected.recovered


@settings(max_examples=60, deadline=None)
@given(turns=TURNS)
def test_replay_agrees_with_a_plain_reading(turns: list[list[AnyEntry]]) -> None:
    """A second, slower reading of the rules comes to the same open and ended jobs."""
    open_jobs: set[int] = set()
    ended_jobs: set[int] = set()
    for entry in (entry for turn in turns for entry in turn):
        if isinstance(entry, JobAccepted) and entry.job not in ended_jobs:
            open_jobs.add(entry.job)
        elif isinstance(entry, JobEnded) and entry.is_forgotten:
            open_jobs.discard(entry.job)
            ended_jobs.discard(entry.job)
        elif isinstance(entry, JobEnded) and entry.job in open_jobs:
            open_jobs.remove(entry.job)
            ended_jobs.add(entry.job)
        elif isinstance(entry, JobKept):
            open_jobs.discard(entry.job)
            ended_jobs.add(entry.job)
    found = recovered(*turns)
    assert set(jobs_of(found)) == open_jobs
    assert set(ended_of(found)) == ended_jobs
