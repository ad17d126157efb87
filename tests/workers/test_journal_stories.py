"""Stories of the journal: what is written before anybody hears of it, and what waits for the disk.

The store is pretended: the core names what shall be written, and is told where the journal stands.
"""

from journal.journalled import KIB, journalled, names, newest_write

from pointsman_shm.config import JobsConfig
from pointsman_wire.lane_messages import NodeResultAck
from pointsman_wire.link import Congested
from pointsman_wire.session_messages import Cancel, JobAccepted, Result, ResultAck, SessionClose
from pointsman_workers.core.events import (
    JournalSynced,
    WriteJournal,
)
from pointsman_workers.journal.entries import (
    JobDispatched,
    JobEnded,
    ResultsRead,
    SessionEnded,
)


def test_a_job_is_written_down_before_its_frames_leave_and_says_so() -> None:
    h = journalled()
    node, client = h.open_lane(3), h.open_session("s-1")
    before = len(h.commands)
    client.submit("r-1")
    commands = h.commands[before:]
    assert isinstance(commands[0], WriteJournal)
    assert names([*commands[0].entries]) == ["SessionOpened", "JobAccepted", "JobDispatched"]
    assert [type(command).__name__ for command in commands[1:]] == ["Send", "Send"]
    assert client.one(JobAccepted).jobs[0].durability == "journal"
    before = len(h.commands)
    node.end(node.assignment())
    ended = h.commands[before]
    assert isinstance(ended, WriteJournal)
    assert isinstance(ended.entries[0], JobEnded)
    assert ended.entries[0].output == b"hola"
    client.one(Result)
    h.receive(client.connection, ResultAck(results=[(client.ack.session_number, 1)]))
    assert isinstance(h.entries()[-1], ResultsRead)


def test_a_dispatch_entry_carries_budget_and_exclusions() -> None:
    h = journalled()
    h.host.node(4)
    h.host.publish(h.now_ns)
    nodes = {row: h.open_lane(row) for row in (3, 4)}
    client = h.open_session()
    client.submit("r-1")
    first = next(node for node in nodes.values() if node.assignments())
    h.advance(2.5)  # never acknowledged
    dispatched = [entry for entry in h.entries() if isinstance(entry, JobDispatched)]
    assert [entry.attempt for entry in dispatched] == [1, 2]
    assert dispatched[1].failovers == 1
    assert dispatched[1].failed_nodes == (f"node-{first.row}",)
    assert "no acknowledgement" in dispatched[1].reasons[0]


def test_durability_memory_writes_nothing() -> None:
    h = journalled()
    node, client = h.open_lane(3), h.open_session()
    client.submit("r-1", durability="memory")
    node.end(node.assignment())
    assert client.one(JobAccepted).jobs[0].durability == "memory"
    assert client.one(Result).status == "completed"
    assert not h.entries()


def test_a_job_at_fsync_is_accepted_dispatched_and_ended_only_when_the_disk_has_it() -> None:
    h = journalled()
    node, client = h.open_lane(3), h.open_session()
    client.submit("r-1", durability="fsync")
    write = next(command for command in h.commands if isinstance(command, WriteJournal))
    assert write.must_sync
    assert not client.all(JobAccepted)
    assert not node.assignments()
    client.submit("r-1", durability="fsync")  # a repeat waits as well
    assert not client.all(JobAccepted)
    h.feed(JournalSynced(write.number))
    accepted = [job for frame in client.all(JobAccepted) for job in frame.jobs]
    assert [(job.durability, job.duplicate) for job in accepted] == [
        ("fsync", False),
        ("fsync", True),
    ]
    node.end(node.assignment())
    assert not client.all(Result)
    assert node.acknowledgement().withheld == [1]
    last = [command for command in h.commands if isinstance(command, WriteJournal)][-1]
    assert last.must_sync
    h.feed(JournalSynced(last.number))
    assert client.one(Result).status == "completed"
    assert h.one(node.connection, NodeResultAck).withheld == []


def test_a_large_result_stays_at_its_node_until_the_client_has_it() -> None:
    h = journalled()
    node, client = h.open_lane(3), h.open_session()
    client.submit("r-1")
    node.end(node.assignment(), b"x" * (64 * KIB + 1))
    result = client.one(Result)
    ack = node.acknowledgement()
    assert (ack.number, ack.withheld) == (1, [1])
    assert not any(isinstance(entry, JobEnded) for entry in h.entries())
    client.submit("r-2")
    node.end(node.assignment())
    ack = node.acknowledgement()
    assert (ack.number, ack.withheld) == (2, [1])
    h.receive(client.connection, ResultAck(results=[(client.ack.session_number, result.number)]))
    ack = h.one(node.connection, NodeResultAck)
    assert (ack.number, ack.withheld) == (2, [])
    ended = [entry for entry in h.entries() if isinstance(entry, JobEnded)]
    assert [(entry.job, entry.is_result_gone) for entry in ended] == [(2, False), (1, True)]
    client.all(Result)
    client.submit("r-1")  # the copy in the window still answers
    assert client.one(Result).status == "completed"


def test_a_large_result_stays_at_its_node_while_its_slow_client_cannot_take_it() -> None:
    h = journalled()
    node, client = h.open_lane(3), h.open_session()
    h.feed(Congested(client.connection))
    client.submit("r-1")
    node.end(node.assignment(), b"x" * (64 * KIB + 1))
    assert node.acknowledgement().withheld == [1]
    assert not client.all(Result)
    client.hang_up()
    back = h.open_session(client.ack.session_id, resume_token=client.ack.resume_token)
    h.receive(back.connection, ResultAck(results=[(0, back.one(Result).number)]))
    assert h.one(node.connection, NodeResultAck).withheld == []


def test_a_withheld_result_is_withheld_again_on_a_new_lane() -> None:
    h = journalled()
    node, client = h.open_lane(3), h.open_session()
    client.submit("r-1")
    job = node.assignment()
    node.end(job, b"x" * (64 * KIB + 1))
    client.one(Result)
    node.hang_up()
    node = h.open_lane(3)
    node.end(job, b"x" * (64 * KIB + 1))
    assert node.acknowledgement().withheld == [1]
    assert not client.all(Result)
    h.receive(client.connection, SessionClose(session_number=client.ack.session_number))
    assert h.one(node.connection, NodeResultAck).withheld == []


def test_a_key_whose_job_never_ran_is_free_in_the_journal_too() -> None:
    h = journalled(jobs=JobsConfig(wait_none_s=1.0))
    client = h.open_session()
    client.submit("r-1", services=["asr"], src_lang="xx")
    h.advance(2)
    ended = [entry for entry in h.entries() if isinstance(entry, JobEnded)]
    assert [entry.is_forgotten for entry in ended] == [True]


def test_a_cancelled_job_and_a_closed_session_end_in_the_journal() -> None:
    h = journalled()
    h.open_lane(3)
    client = h.open_session()
    number = client.ack.session_number
    client.submit("r-1")
    h.receive(client.connection, Cancel(session_number=number, request_id="r-1"))
    h.receive(client.connection, SessionClose(session_number=number))
    ended = next(entry for entry in h.entries() if isinstance(entry, JobEnded))
    assert ended.result.status == "cancelled"
    assert isinstance(h.entries()[-1], SessionEnded)


def test_a_repeated_request_hears_nothing_of_a_result_that_the_disk_does_not_have() -> None:
    """I11: what was told at fsync must be what a loss of power leaves."""
    h = journalled()
    node, client = h.open_lane(3), h.open_session("s-1")
    client.submit("r-1", durability="fsync")
    h.feed(JournalSynced(newest_write(h).number))
    node.end(node.assignment())
    client.submit("r-1", durability="fsync")
    client.hang_up()
    client = h.open_session("s-1", resume_token=client.ack.resume_token)
    client.submit("r-1", durability="fsync")
    assert not client.all(Result)
    h.feed(JournalSynced(newest_write(h).number))
    assert client.one(Result).status == "completed"


def test_a_session_begins_anew_while_a_result_waits_for_the_disk() -> None:
    h = journalled()
    node, client = h.open_lane(3), h.open_session("s-1", order="utterance")
    client.submit("r-1", durability="fsync", utterance_index=4)
    h.feed(JournalSynced(newest_write(h).number))
    node.end(node.assignment())
    client.hang_up()
    stranger = h.open_session("s-1", order="utterance")
    stranger.submit("r-1", durability="fsync", utterance_index=4)
    h.feed(JournalSynced(newest_write(h).number))
    assert stranger.one(Result).utterance_index == 4


def test_a_key_that_is_free_again_is_its_new_jobs_when_the_old_end_is_on_the_disk() -> None:
    """I1: the job that never ran is told, and the next one of its key is still open."""
    h = journalled(jobs=JobsConfig(wait_none_s=1.0))
    client = h.open_session("s-1")
    client.submit("r-1", durability="fsync")
    h.feed(JournalSynced(newest_write(h).number))
    h.advance(1.2)
    client.submit("r-1", durability="fsync")
    number = client.ack.session_number
    h.receive(client.connection, SessionClose(session_number=number))
    h.feed(JournalSynced(newest_write(h).number))
    assert client.one(Result).status == "expired"
    node = h.open_lane(3)
    node.end(node.assignment())
    h.feed(JournalSynced(newest_write(h).number))
    assert client.one(Result).status == "completed"


def test_a_result_that_waited_for_the_disk_is_told_under_a_number_after_those_before_it() -> None:
    """I1: a client skips numbers that it has passed."""
    h = journalled(slots=2)
    node, client = h.open_lane(3), h.open_session()
    client.submit("r-1", durability="fsync")
    h.feed(JournalSynced(newest_write(h).number))
    node.end(node.assignment())
    write = newest_write(h)
    client.submit("r-2", durability="memory")
    node.end(node.assignment())
    h.feed(JournalSynced(write.number))
    told = [(result.request_id, result.number) for result in client.all(Result)]
    assert [name for name, _ in told] == ["r-2", "r-1"]
    assert told[0][1] < told[1][1]


def test_word_of_an_older_sync_that_comes_late_takes_nothing_back() -> None:
    """I1: what is on the disk stays there; whoever waits for it is not forgotten."""
    h = journalled(slots=2)
    node, client = h.open_lane(3), h.open_session()
    numbers = []
    for request_id in ("r-1", "r-2"):
        client.submit(request_id, durability="fsync")
        numbers.append(newest_write(h).number)
    h.feed(JournalSynced(numbers[1]), JournalSynced(numbers[0]))
    node.end(node.assignments()[0], b"x" * (64 * KIB + 1))  # too large to be written
    assert client.one(Result).request_id == "r-1"


def test_i2_a_serial_job_at_fsync_has_its_turn_when_the_disk_has_it() -> None:
    """I2: before that nobody may have it, and it begins as soon as it may."""
    h = journalled(slots=2)
    node, client = h.open_lane(3), h.open_session(order="serial")
    client.submit("r-1")
    job = node.assignment()
    client.submit("r-2", durability="fsync")
    node.end(job)
    assert node.assignments() == []
    written = [command.number for command in h.commands if isinstance(command, WriteJournal)]
    h.feed(JournalSynced(written[-1]))
    assert node.assignment().request_id == "r-2"
