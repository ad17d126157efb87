"""Stories of the journal's room: what is refused without it, and how segments make it."""

from journal.journalled import KIB, MIB, journalled, names
from msgspec.msgpack import encode

from pointsman_shm.config import JobsConfig, JournalConfig
from pointsman_wire.messages import Error
from pointsman_wire.session_messages import JobAccepted, Result, ResultAck
from pointsman_workers.core.events import DropSegments, JournalState
from pointsman_workers.journal.book import ENTRY_BYTES
from pointsman_workers.journal.entries import JobAccepted as AcceptedEntry
from pointsman_workers.journal.entries import JobDispatched, JobEnded, JobKept, SessionOpened


def test_c3_without_room_on_the_disk_jobs_are_refused_in_words_until_there_is_some() -> None:
    """C3: no acceptance at level journal; memory only if the client asked; recovers alone."""
    h = journalled()
    node, client = h.open_lane(3), h.open_session()
    h.feed(JournalState(segment=1, room_bytes=300 * KIB, held_bytes=16 * MIB, oldest=1))
    client.submit("r-1", b"x" * 100 * KIB)
    error = client.one(Error).error
    assert (error.code, error.retryable) == ("QUEUE_FULL", True)
    assert error.message.startswith("storage: ")
    assert "the disk" in error.message
    assert error.retry_after_ms == 1_000
    client.submit("r-2", b"x" * 100 * KIB, durability="memory")
    assert client.one(JobAccepted).jobs[0].durability == "memory"
    node.end(node.assignment())
    h.feed(JournalState(segment=1, room_bytes=300 * KIB, held_bytes=600 * MIB, oldest=1))
    client.submit("r-1", b"x" * 100 * KIB)
    text = client.one(Error).error.message
    assert "journal.bytes_max" in text
    assert "disk" not in text
    h.feed(JournalState(segment=2, room_bytes=32 * MIB, held_bytes=32 * MIB, oldest=1))
    client.submit("r-1", b"x" * 100 * KIB)
    assert client.one(JobAccepted).jobs[0].durability == "journal"


def test_c3_ends_of_accepted_jobs_fit_or_stay_at_their_nodes() -> None:
    """C3: what was accepted ends, however full the disk has become meanwhile."""
    h = journalled()
    node, client = h.open_lane(3), h.open_session()
    client.submit("r-1")
    h.feed(JournalState(segment=1, room_bytes=64 * KIB, held_bytes=16 * MIB, oldest=1))
    node.end(node.assignment())
    assert client.one(Result).status == "completed"
    assert node.acknowledgement().withheld == [1]
    h.feed(JournalState(segment=2, room_bytes=32 * MIB, held_bytes=32 * MIB, oldest=1))
    h.receive(client.connection, ResultAck(results=[(client.ack.session_number, 1)]))
    ended = [entry for entry in h.entries() if isinstance(entry, JobEnded)]
    assert [(entry.output, entry.is_forgotten) for entry in ended] == [(b"hola", False)]


def test_c3_what_is_said_beside_bodies_takes_room_as_they_do() -> None:
    """C3: of jobs and of results; what is left at its node is written without it, once read."""
    h = journalled(slots=9)
    node, client = h.open_lane(3), h.open_session()
    for number in range(9):
        client.submit(f"r-{number}")
    jobs = node.assignments()
    h.feed(JournalState(segment=1, room_bytes=300 * KIB, held_bytes=16 * MIB, oldest=1))
    written = len(encode(h.entries()))
    for job in jobs:
        node.end(job, b"", meta={"words": ["word"] * 2_000}, content_type="x" * 1_000)
    results = client.all(Result)
    assert len(results) == 9
    assert len(node.acknowledgement().withheld) == 9
    acknowledged = (client.ack.session_number, results[-1].number)
    h.receive(client.connection, ResultAck(results=[acknowledged]))
    ended = [entry for entry in h.entries() if isinstance(entry, JobEnded)]
    assert [(entry.result.meta, entry.is_result_gone) for entry in ended] == [(None, True)] * 9
    assert len(encode(h.entries())) - written < 9 * ENTRY_BYTES
    h.feed(JournalState(segment=1, room_bytes=4 * MIB, held_bytes=16 * MIB, oldest=1))
    for number in range(100):
        client.submit(f"s-{number}", meta={"words": ["word"] * 9_000})
    refused = client.all(Error)
    assert {error.error.code for error in refused} == {"QUEUE_FULL"}
    assert len(encode(h.entries())) < 4 * MIB


def test_a_segment_goes_when_nothing_in_it_lives() -> None:
    h = journalled(jobs=JobsConfig(window_s=5.0))
    node, client = h.open_lane(3), h.open_session()
    client.submit("r-1")
    node.end(node.assignment())
    client.one(Result)
    h.feed(JournalState(segment=2, room_bytes=32 * MIB, held_bytes=32 * MIB, oldest=1))
    h.advance(1)
    # The session and the ended job are few: they are written anew, and their segment goes.
    kept = [entry for entry in h.entries() if isinstance(entry, JobKept | SessionOpened)]
    assert names([*kept]) == ["SessionOpened", "SessionOpened", "JobKept"]
    assert [c.below for c in h.commands if isinstance(c, DropSegments)] == [2]


def test_an_open_job_is_carried_forward_whole() -> None:
    h = journalled()
    node, client = h.open_lane(3), h.open_session()
    client.submit("r-1", b"body")
    h.feed(JournalState(segment=2, room_bytes=32 * MIB, held_bytes=32 * MIB, oldest=1))
    h.advance(0.5)
    accepted = [entry for entry in h.entries() if isinstance(entry, AcceptedEntry)]
    dispatched = [entry for entry in h.entries() if isinstance(entry, JobDispatched)]
    assert len(accepted) == len(dispatched) == 2
    assert accepted[0] == accepted[1]
    assert dispatched[0] == dispatched[1]
    assert [c.below for c in h.commands if isinstance(c, DropSegments)] == [2]
    node.end(node.assignment())
    assert client.one(Result).status == "completed"


def test_much_that_lives_is_carried_at_three_quarters_of_the_bound_of_the_journal() -> None:
    h = journalled(slots=4_096, journal=JournalConfig(bytes_max=44 * MIB))
    h.open_lane(3)
    client = h.open_session()
    for number in range(300):
        client.submit(f"r-{number}")
    h.feed(JournalState(segment=2, room_bytes=32 * MIB, held_bytes=32 * MIB, oldest=1))
    h.advance(1)
    assert not [c for c in h.commands if isinstance(c, DropSegments)]
    h.feed(JournalState(segment=3, room_bytes=32 * MIB, held_bytes=36 * MIB, oldest=1))
    h.advance(1)
    assert [c.below for c in h.commands if isinstance(c, DropSegments)] == [3]
    accepted = [entry for entry in h.entries() if isinstance(entry, AcceptedEntry)]
    assert len(accepted) == 600
