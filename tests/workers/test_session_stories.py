"""Stories of sessions, restarts and other workers: what is taken up again, and by whom."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from fleet_samples import speech_class
from worker_harness import SECOND_NS, Host, WorkerHarness, one_node

from pointsman_shm.config import Config
from pointsman_shm.uplink import Alternatives
from pointsman_wire.lane_messages import (
    Assign,
    CancelJob,
    JobFence,
    LaneGoingAway,
    LaneReport,
)
from pointsman_wire.link import LoopWasLate
from pointsman_wire.messages import Error, Message
from pointsman_wire.preamble import Role, Secured
from pointsman_wire.session_messages import (
    Cancel,
    GoingAway,
    JobAccepted,
    Moved,
    Result,
    ResultAck,
    SessionInit,
    SessionInitAck,
    Submit,
)
from pointsman_wire.talk.talk_messages import AudioChunk, Utterance
from pointsman_workers.core.events import BellRang, ManagerSaid, RingWorker, Stopped, StopWished


def test_who_has_read_more_results_than_there_can_be_gets_numbers_that_can_be_read() -> None:
    """A number above what a message may say was written down, and its worker did not begin anew."""
    _, h = one_node()
    node = h.open_lane(3)
    client = h.open_session("s-1")
    h.receive(client.connection, ResultAck(results=[(0, 2**63 - 1)]))
    for claim in ({}, {"resume_token": client.ack.resume_token}):
        client = h.open_session("s-1", last_result=2**63 - 1, **claim)
        for number in range(2):
            client.submit(f"{number} {claim}")
            node.end(node.assignment())
            result = client.one(Result)
            assert msgspec.msgpack.decode(msgspec.msgpack.encode(result), type=Result) == result


class Walked(dict[int, Any]):
    """Counts how often it is walked."""

    times = 0

    def __iter__(self) -> Iterator[int]:
        self.times += 1
        return super().__iter__()


def test_acknowledging_one_session_over_and_over_in_a_frame_costs_as_much_as_once() -> None:
    """A frame holds 290,000 pairs: for each of them somebody else's job waited a microsecond."""
    _, h = one_node()
    client = h.open_session()
    session = h.core.shard.peers[client.connection].sessions[client.ack.session_number]
    session.unread = walked = Walked()
    h.receive(client.connection, ResultAck(results=[(n % 3, n) for n in range(300)]))
    assert walked.times == 1


def test_i1_n6_an_acknowledgement_lets_go_of_what_it_names_and_of_nothing_after_it() -> None:
    _, h = one_node(slots=4)
    node, client = h.open_lane(3), h.open_session("s-1")
    for number in range(4):
        client.submit(f"r-{number}")
    for job in node.assignments():
        node.end(job)
    numbers = [result.number for result in client.all(Result)]
    assert len(numbers) == 4
    h.receive(client.connection, ResultAck(results=[(client.ack.session_number, numbers[1])]))
    client.hang_up()
    back = h.open_session("s-1", resume_token=client.ack.resume_token, last_result=numbers[2])
    assert [result.number for result in back.all(Result)] == numbers[3:]


def test_undelivered_results_come_again_on_resume_and_only_with_the_token() -> None:
    _, h = one_node()
    node = h.open_lane(3)
    client = h.open_session("s-1")
    client.submit("r-1")
    client.hang_up()
    node.end(node.assignment())
    back = h.open_session("s-1", resume_token=client.ack.resume_token, unfinished=["r-1", "r-9"])
    assert back.ack.resumed
    assert back.ack.unfinished == {"r-1": "ended", "r-9": "unknown"}
    result = back.one(Result)
    assert result.request_id == "r-1"
    h.receive(back.connection, ResultAck(results=[(back.ack.session_number, result.number)]))
    stranger = h.open_session("s-1", resume_token="guess")
    assert not stranger.ack.resumed
    assert stranger.all(Result) == []


def test_every_new_snapshot_is_timed_once() -> None:
    host, h = one_node()
    stats = h.core.shard.setup.memory.stats
    h.feed()
    before = stats.read().timings["refresh"].count
    h.feed()
    assert stats.read().timings["refresh"].count == before, "there was nothing new"
    host.publish(h.now_ns)
    h.feed()
    h.feed()
    assert stats.read().timings["refresh"].count == before + 1


def test_a_repeated_request_is_bound_to_the_job_that_a_node_still_runs() -> None:
    """I2 over a restart without a journal: the node's report names the request."""
    host, h = one_node()
    host.ledger.cells[3] = 1  # what the dead predecessor held
    h = WorkerHarness(host, epoch=2, now_ns=h.now_ns)
    h.feed()
    client = h.open_session("s-1", unfinished=["r-1"])
    assert client.ack.unfinished == {"r-1": "unknown"}
    client.submit("r-1")
    assert client.all(JobAccepted) == [], "it may still run somewhere"
    old = JobFence("job-of-old", 1, 77, "", "s-1", "r-1")
    node = h.open_lane(3, running=[old])
    h.advance(0.2)
    assert client.one(JobAccepted).jobs[0].job_id == "job-of-old"
    assert node.assignments() == []
    assert h.held(3) == 1
    node.end(
        Assign(number=0, job_id="job-of-old", dispatch=77),
        epoch=1,
    )
    assert client.one(Result).job_id == "job-of-old"
    assert h.held(3) == 0


def test_an_equal_request_is_read_anew_when_its_session_has_come_back_with_other_languages() -> (
    None
):
    _, h = one_node()
    node = h.open_lane(3)
    client = h.open_session("s-1", src_lang="en", tgt_lang="es")
    for request_id in ("r-1", "r-2"):
        client.submit(request_id, src_lang="", tgt_lang="")
        job = node.assignment()
        assert (job.src_lang, job.tgt_lang) == ("en", "es")
        node.end(job)
    token = client.ack.resume_token
    back = h.open_session("s-1", resume_token=token, src_lang="es", tgt_lang="en")
    for request_id, asked, languages in (
        ("r-3", ("", ""), ("es", "en")),
        ("r-4", ("en", "es"), ("en", "es")),
    ):
        back.submit(request_id, src_lang=asked[0], tgt_lang=asked[1])
        job = node.assignment()
        assert (job.src_lang, job.tgt_lang) == languages
        node.end(job)
    back.submit("r-5", services=["asr"], src_lang="en", tgt_lang="es")
    assert node.assignment().services == ["asr"]


def test_an_orphan_whose_client_never_comes_is_cancelled_and_its_slot_counted_until_then() -> None:
    host, h = one_node()
    h = WorkerHarness(host, epoch=2, now_ns=h.now_ns)
    h.feed()
    node = h.open_lane(3, running=[JobFence("job-of-old", 1, 77, "", "s-1", "r-1")])
    assert h.held(3) == 1
    h.advance(31)
    assert h.one(node.connection, CancelJob).job_id == "job-of-old"
    assert h.held(3) == 1


def test_what_a_dead_predecessor_held_and_nobody_reports_is_freed_after_the_grace_period() -> None:
    """I10: no slot leaks over a restart."""
    host, h = one_node()
    host.ledger.cells[3] = 1
    h = WorkerHarness(host, epoch=2, now_ns=h.now_ns)
    h.feed()
    assert h.held(3) == 1
    h.advance(5.2)
    assert h.held(3) == 0


def test_a_late_loop_moves_every_deadline() -> None:
    """T9: who was stopped himself declares nobody late."""
    _, h = one_node()
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-1")
    node.assignment()
    h.now_ns += 10 * SECOND_NS
    h.feed(LoopWasLate(10 * SECOND_NS))
    assert h.take(node.connection, CancelJob) == []
    h.advance(2.2)
    assert h.take(node.connection, CancelJob) != []


def test_a_slot_that_an_older_job_elsewhere_waits_for_is_offered_to_that_worker() -> None:
    host = Host(Config(), worker_count=2)
    host.node(3)
    host.publish(SECOND_NS)
    a, b = WorkerHarness(host, worker_index=0), WorkerHarness(host, worker_index=1)
    for h in (a, b):
        h.feed()
    node_a, node_b = a.open_lane(3), b.open_lane(3)
    client_a, client_b = a.open_session(), b.open_session()
    client_a.submit("a-0")
    job = node_a.assignment()
    a.now_ns += 1_000
    b.now_ns += 1_000
    client_b.submit("b-1")
    a.now_ns += 1_000
    client_a.submit("a-1")
    assert a.held(3) == 1
    node_a.end(job)
    rings = [command for command in a.commands if isinstance(command, RingWorker)]
    assert [ring.worker_index for ring in rings] == [1]
    assert node_a.assignments() == [], "it is not our turn"
    b.feed(BellRang(0, rings[0].class_number))
    assert node_b.assignment().request_id == "b-1"


def test_without_a_ring_a_waiting_job_looks_by_itself_within_some_milliseconds() -> None:
    host = Host(Config(), worker_count=2)
    host.node(3)
    host.publish(SECOND_NS)
    a, b = WorkerHarness(host, worker_index=0), WorkerHarness(host, worker_index=1)
    for h in (a, b):
        h.feed()
    node_a, node_b = a.open_lane(3), b.open_lane(3)
    client_a, client_b = a.open_session(), b.open_session()
    client_a.submit("a-0")
    client_b.submit("b-1")
    node_a.end(node_a.assignment())
    b.advance(0.02)
    assert node_b.assignment().request_id == "b-1"


def test_a_stopping_worker_takes_nothing_new_and_ends_when_nothing_runs() -> None:
    _, h = one_node()
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-1")
    h.feed(StopWished(h.now_ns + 30 * SECOND_NS))
    (going,) = client.all(GoingAway)
    assert going.reconnect_after_ms > 0
    assert going.alternatives == [], "this service is on its own"
    client.submit("r-2")
    assert client.one(Error).error.code == "SHUTTING_DOWN"
    h.advance(1)
    assert not [command for command in h.commands if isinstance(command, Stopped)]
    node.end(node.assignment())
    h.advance(0.2)
    assert [command for command in h.commands if isinstance(command, Stopped)]


def test_sessions_and_nodes_are_told_before_their_worker_goes_and_where_else_there_is_one() -> None:
    """I2, P13: each hears of places that speak as it does; no lane that is not open is told."""
    _, h = one_node()
    node = h.open_lane(3)
    client = h.open_session()
    stranger = h.dial(Role.LANE)
    told = Alternatives(plain=("10.0.0.2:7400",), tls=("b.example:7443",))
    h.feed(ManagerSaid(told), StopWished(h.now_ns + 30 * SECOND_NS))
    assert client.one(GoingAway).alternatives == ["10.0.0.2:7400"]
    assert h.one(node.connection, LaneGoingAway).alternatives == ["10.0.0.2:7400"]
    assert not h.take(stranger, LaneGoingAway)


def test_who_came_over_tls_is_told_of_places_that_speak_it() -> None:
    """An alternative is no way around TLS."""
    _, h = one_node()
    connection = h.dial(Role.SESSION, Secured())
    told = Alternatives(plain=("10.0.0.2:7400",), tls=("b.example:7443",))
    h.feed(ManagerSaid(told), StopWished(h.now_ns + 30 * SECOND_NS))
    assert h.one(connection, GoingAway).alternatives == ["b.example:7443"]


def test_a_session_of_another_shard_is_told_where_to_go() -> None:
    host = Host(Config(), worker_count=2)
    host.publish(SECOND_NS)
    h = WorkerHarness(host, worker_index=0)
    h.feed()
    acks = 0
    for number in range(8):
        connection = h.dial(Role.TRUNK)
        h.receive(connection, SessionInit(ref=5, session_id=f"s-{number}"))
        moved, ack = h.take(connection, Moved), h.take(connection, SessionInitAck)
        assert len(moved) + len(ack) == 1
        acks += len(ack)
        assert all(message.ref == 5 and message.shard == 1 for message in moved)
    assert 0 < acks < 8


def test_an_unsettled_report_of_a_lane_message_before_lane_open_is_ignored() -> None:
    _, h = one_node()
    connection = h.dial(Role.LANE)
    h.receive(connection, LaneReport())
    assert h.core.shard.lanes == {}


@pytest.mark.parametrize(
    "message",
    [
        Cancel(session_number=4, request_id="r-1"),
        Utterance(session_number=4, utterance_id="r-1", text="hello"),
        AudioChunk(session_number=4, utterance_id="r-1"),
        Submit(session_number=4, request_id="r-1"),
    ],
)
def test_who_names_a_session_that_is_not_open_is_told_which_request_that_concerns(
    message: Message,
) -> None:
    _, h = one_node()
    client = h.open_session()
    h.receive(client.connection, message)
    error = client.one(Error)
    assert error.error.code == "INVALID_SESSION"
    assert (error.session_number, error.request_id) == (4, "r-1")


def test_idle_sessions_end_and_a_lost_client_has_its_resume_window() -> None:
    _, h = one_node()
    client = h.open_session("s-1")
    h.advance(61)
    assert h.core.shard.sessions == {}
    client = h.open_session("s-2")
    client.hang_up()
    h.advance(29)
    assert len(h.core.shard.sessions) == 1
    h.advance(2)
    assert h.core.shard.sessions == {}


def test_other_classes_of_node_serve_other_jobs() -> None:
    host, h = one_node()
    ears = speech_class("en", types=("asr",))
    host.node(4, ears)
    host.publish(h.now_ns)
    h.open_lane(3)
    node = h.open_lane(4)
    client = h.open_session()
    client.submit("r-1", services=["asr"], tgt_lang="")
    client.submit("r-2", services=["asr"], tgt_lang="")
    assert h.held(3) + h.held(4) == 2
    assert len(node.assignments()) == 1
