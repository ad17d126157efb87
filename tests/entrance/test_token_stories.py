"""Stories of tokens at one worker, as an attacker would try them: A1, A3, A4, A6."""

import pytest
from entrance.tokens_at_hand import (
    ACME,
    ACME_KNOWN,
    KNOWN,
    OLD,
    READER,
    RIVAL,
    RIVAL_KNOWN,
    SENDER,
    a_token,
    dialled,
    refusal,
    strict_worker,
    strict_workers,
)

from pointsman_shm.tokens.judging import Scope, Tokens, digest_of, make_token
from pointsman_shm.tokens.settings import AuthConfig
from pointsman_wire.errors import Code
from pointsman_wire.framing import Unreadable
from pointsman_wire.link import Accepted, Connection, Frame, Received
from pointsman_wire.messages import Error, Message
from pointsman_wire.preamble import Preamble, Role, Secured
from pointsman_wire.session_messages import (
    ClientHeartbeat,
    ClientHeartbeatAck,
    JobAccepted,
    Result,
    ResultAck,
    SessionClosed,
    SessionInit,
    SessionInitAck,
    Submit,
)
from pointsman_workers.core.events import Say, TokensChanged
from pointsman_workers.desks.entrance import tokens as tokens_module


def test_a1_the_tenant_is_the_tokens_and_never_the_messages() -> None:
    worker = strict_worker()
    client = worker.open_session("s-1", token=ACME)
    assert ("acme", "s-1") in worker.core.shard.sessions
    named = worker.open_session("s-2", token=ACME, tenant="acme")
    assert named.ack.session_id == "s-2"
    error = refusal(worker, token=ACME, tenant="rival").error
    assert error.code == Code.UNAUTHORIZED
    assert "tenant" in error.message
    client.submit("r-1")
    assert client.one(JobAccepted).jobs


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("", "came without one"),
        ("hunter2", "not known here"),
        (ACME + "x", "not known here"),
        (ACME[:-1], "not known here"),
        ("pmt_ffffffff_" + "A" * 43, "not known here"),
        ("pmt_00000001_", "not known here"),
        (ACME.replace("00000001", "00000002", 1), "not known here"),
        ("\ud800", "not known here"),
        ("pmt_00000001_" + "A" * 100_000, "not known here"),
        (OLD, "token 00000003 has expired"),
    ],
)
def test_a1_none_wrong_cut_foreign_and_expired_tokens_are_refused(token: str, words: str) -> None:
    worker = strict_worker()
    connection = dialled(worker, "10.0.0.1")
    worker.receive(connection, SessionInit(token=token))
    error = worker.one(connection, Error).error
    assert (error.code, error.retryable) == (Code.UNAUTHORIZED, False)
    assert words in error.message
    assert worker.closed == [connection], "the next try costs a connection"
    assert not worker.core.shard.sessions
    assert worker.core.shard.setup.memory.stats.read().counters["tokens_refused"] == 1


def test_a1_on_an_open_loopback_one_may_come_without_but_not_with_a_wrong_one() -> None:
    worker = strict_worker(auth=AuthConfig())
    assert worker.open_session("s-1", tenant="anyone").ack.session_id == "s-1"
    assert refusal(worker, token="wrong").error.code == Code.UNAUTHORIZED
    worker.open_session("s-2", token=RIVAL)
    assert ("rival", "s-2") in worker.core.shard.sessions


def test_a3_a_tenant_finds_nothing_of_another_and_is_told_the_same_as_of_what_never_was() -> None:
    worker = strict_worker(slots=4)
    node = worker.open_lane(3)
    owner = worker.open_session("s-1", token=ACME)
    owner.submit("r-1")
    job = node.assignment()
    # The same session id, the same request id, even the stolen resume token: another session.
    thief = worker.open_session(
        "s-1", token=RIVAL, resume_token=owner.ack.resume_token, unfinished=["r-1", "never"]
    )
    assert not thief.ack.resumed
    assert thief.ack.unfinished == {"r-1": "unknown", "never": "unknown"}
    answers = {}
    for guess in ("r-1", job.job_id, "never"):
        thief.cancel(guess)
        answers[guess] = thief.one(Error).error.message.replace(guess, "")
    assert len(set(answers.values())) == 1, answers
    node.end(job)
    assert owner.one(Result).status == "completed"
    assert thief.all(Result) == []


def test_a4_the_same_request_id_of_two_tenants_is_two_jobs() -> None:
    worker = strict_worker(slots=4)
    node = worker.open_lane(3)
    ids = set()
    for token in (ACME, RIVAL):
        client = worker.open_session("s-1", token=token)
        client.submit("r-1", b"one body" if token == ACME else b"another")
        ids.add(client.one(JobAccepted).jobs[0].job_id)
    assert len(ids) == 2, "nor does a CONFLICT tell that another has it"
    assert len(node.assignments()) == 2


def test_a4_the_same_request_id_of_two_sessions_of_a_tenant_is_two_jobs() -> None:
    worker = strict_worker(slots=4)
    node = worker.open_lane(3)
    ids = set()
    for session_id in ("s-1", "s-2"):
        client = worker.open_session(session_id, token=ACME)
        client.submit("r-1", session_id.encode())
        ids.add(client.one(JobAccepted).jobs[0].job_id)
    assert len(ids) == 2
    assert len(node.assignments()) == 2


def test_a3_ids_of_jobs_have_more_than_122_random_bits() -> None:
    worker = strict_worker()
    ids = [next(worker.core.shard.job_ids) for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert {len(bytes.fromhex(found)) * 8 for found in ids} == {128}


def test_a6_a_wrong_address_is_looked_at_later_after_ten_times_in_a_minute() -> None:
    worker = strict_worker()
    for _ in range(10):
        assert refusal(worker, "10.0.0.1", token="guess").error.code == Code.UNAUTHORIZED
    eleventh = dialled(worker, "10.0.0.1")
    worker.receive(eleventh, SessionInit(token="guess"))
    right = dialled(worker, "10.0.0.1")
    worker.receive(right, SessionInit(token=ACME))
    worker.advance(0.9)
    assert not worker.take(eleventh, Error)
    assert not worker.take(right, SessionInitAck), "else waiting would cost a guesser nothing"
    worker.advance(0.3)
    assert worker.one(eleventh, Error).error.code == Code.UNAUTHORIZED
    assert worker.one(right, SessionInitAck), "others behind the address are let in"
    elsewhere = dialled(worker, "10.0.0.2")
    worker.receive(elsewhere, SessionInit(token=ACME))
    assert worker.one(elsewhere, SessionInitAck)
    worker.advance(61)
    assert refusal(worker, "10.0.0.1", token="guess").error.code == Code.UNAUTHORIZED


def test_a6_wrong_tokens_of_an_address_count_over_all_workers_and_for_a_minute() -> None:
    here, there = strict_workers()
    for worker in (here, there):
        for _ in range(5):
            assert refusal(worker, "10.0.0.1", token="guess").error.code == Code.UNAUTHORIZED
    for worker in (here, there):
        late = dialled(worker, "10.0.0.1")
        worker.receive(late, SessionInit(token="guess"))
        assert not worker.take(late, Error), "ten times in all"
        other = dialled(worker, "10.0.0.2")
        worker.receive(other, SessionInit(token="guess"))
        assert worker.take(other, Error)
    for worker in (here, there):
        worker.advance(65)
    assert refusal(there, "10.0.0.1", token="guess").error.code == Code.UNAUTHORIZED


def test_a6_only_so_many_wait_and_so_many_failures_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tokens_module, "FAILURES_MAX", 1_000)
    worker = strict_worker(auth=AuthConfig(loopback="required", failures_per_minute_max=1))
    trunk = dialled(worker, "10.0.0.1", Role.TRUNK)
    refusal(worker, "10.0.0.1", token="guess")
    for ref in range(300):
        worker.receive(trunk, SessionInit(ref=ref, token=ACME))
    told = [error.error.code for error in worker.take(trunk, Error)]
    assert told == [Code.RATE_LIMITED] * 44
    worker.advance(1.2)
    assert len(worker.take(trunk, SessionInitAck)) == 256
    desk = worker.core._sessions.tokens
    for number in range(1_100):
        desk._failures.note(f"10.1.{number >> 8}.{number & 255}", worker.now_ns)
    assert len(desk._failures._lately) == len(desk._failures._counts) == 1_000


def test_a6_what_is_said_of_a_failure_names_the_address_and_not_the_secret() -> None:
    worker = strict_worker()
    guess = ACME[:-1] + "?"
    for _ in range(14):
        worker.receive(dialled(worker, "10.0.0.1"), SessionInit(token=guess, tenant="t"))
        worker.advance(1.1)
    said = [command.text for command in worker.commands if isinstance(command, Say)]
    assert len(said) == 2, "the first, and when it begins to be slowed"
    assert all("10.0.0.1" in text and guess[13:] not in text for text in said)


def test_a1_a_token_that_may_submit_gets_no_results_and_throws_none_away() -> None:
    worker = strict_worker()
    node = worker.open_lane(3)
    sender = worker.open_session("s-1", token=SENDER)
    sender.submit("r-1", stream=True)
    job = node.assignment()
    node.end(job, b"secret")
    sender.harness.receive(sender.connection, ResultAck(results=[(0, 1)]))
    worker.advance(1)
    assert sender.all(Result) == []
    sender.cancel("r-1")
    error = sender.one(Error)
    assert (error.error.code, error.request_id) == (Code.UNAUTHORIZED, "r-1")
    assert "may submit; this needs cancel" in error.error.message
    reader = worker.open_session("s-1", token=READER, resume_token=sender.ack.resume_token)
    assert reader.ack.resumed
    assert reader.one(Result).request_id == "r-1"
    reader.submit("r-2")
    assert reader.one(Error).error.code == Code.UNAUTHORIZED
    assert node.assignments() == []


def test_a1_a_scope_holds_for_what_comes_together_with_the_session_init() -> None:
    """On a trunk the next session's number can be guessed."""
    worker = strict_worker()
    node = worker.open_lane(3)
    trunk = dialled(worker, "10.0.0.1", Role.TRUNK)
    worker.receive(trunk, SessionInit(token=ACME, session_id="s-1"))
    submit = Submit(session_number=1, services=["nmt"], src_lang="en", tgt_lang="es")
    frames: list[Frame] = [(SessionInit(token=READER, session_id="s-2"), b""), (submit, b"x")]
    worker.feed(Received(trunk, frames))
    assert worker.one(trunk, Error).error.code == Code.UNAUTHORIZED
    assert node.assignments() == []


def test_a1_a_revocation_cuts_off_live_sessions_and_leaves_others_alone() -> None:
    worker = strict_worker()
    node = worker.open_lane(3)
    gone = worker.open_session("s-1", token=ACME)
    stays = worker.open_session("s-1", token=RIVAL)
    gone.submit("r-1")
    job = node.assignment()
    worker.feed(TokensChanged((RIVAL_KNOWN,)))
    assert gone.one(Error).error.code == Code.UNAUTHORIZED
    assert gone.one(SessionClosed).reason == "token 00000001 counts no more"
    assert worker.closed == [gone.connection]
    node.end(job)
    assert gone.all(Result) == []
    assert stays.all(SessionClosed) == []
    worker.feed(TokensChanged(KNOWN))
    back = worker.open_session("s-1", token=ACME, resume_token=gone.ack.resume_token)
    assert back.one(Result).request_id == "r-1", "it waited for one with a good token"


def test_a1_a_token_that_ends_while_its_session_is_open_cuts_it_off_too() -> None:
    worker = strict_worker()
    client = worker.open_session("s-1", token=ACME)
    _, ended = a_token(1, "acme", is_expired=True)
    worker.feed(TokensChanged((ended,)))
    assert client.one(SessionClosed)
    assert refusal(worker, token=ACME).error.message.startswith("token 00000001 has expired")


def test_a1_a_session_that_was_resumed_has_the_scopes_of_its_last_token() -> None:
    worker = strict_worker()
    first = worker.open_session("s-1", token=ACME)
    second = worker.open_session("s-1", token=READER, resume_token=first.ack.resume_token)
    second.submit("r-1")
    assert second.one(Error).error.code == Code.UNAUTHORIZED
    first.cancel("r-1")
    assert first.one(Error).error.code == Code.INVALID_SESSION, "it is on that connection no more"


def test_a1_tokens_are_made_of_256_random_bits_and_found_by_their_whole_text() -> None:
    drawn: list[int] = []

    def urlsafe(size: int) -> str:
        drawn.append(size * 8)
        return "a-secret_with-all_signs"

    text = make_token("0a0b0c0d", urlsafe)
    assert drawn == [256]
    _, known = a_token(0x0A0B0C0D, "acme", Scope.READ)
    known = type(known)(
        token_id="0a0b0c0d", digest=digest_of(text), tenant="acme", scopes=Scope.READ
    )
    tokens = Tokens([known])
    assert tokens.find(text) is known
    for wrong in ("", text[:-1], text + "=", text.upper(), "pmt_0a0b0c0d_", known.digest.hex()):
        assert tokens.find(wrong) is None, wrong
    assert tokens.is_good("0a0b0c0d")
    assert not tokens.is_good("ffffffff")


def test_the_token_desk_knows_tenants_by_name_alone_where_there_are_no_tokens() -> None:
    worker = strict_worker(ACME_KNOWN, auth=AuthConfig())
    assert worker.core.shard.tenants.rules("acme").jobs_per_s == 100.0
    assert worker.core.shard.tenants.rules("other").jobs_per_s is None
    worker.feed(TokensChanged(()))
    assert worker.core.shard.tenants.rules("acme").jobs_per_s is None


def test_x1_who_comes_over_tls_needs_a_token_wherever_from_it_seems_to_come() -> None:
    worker = strict_worker(auth=AuthConfig())
    for secured, code in ((Secured(), Code.UNAUTHORIZED), (None, None)):
        connection = Connection(900 + (code is None))
        preamble = Preamble(Role.SESSION, None, secured=secured)
        worker.feed(Accepted(connection, preamble, peer="127.0.0.1"))
        worker.receive(connection, SessionInit())
        refused = [error.error.code for error in worker.take(connection, Error)]
        assert refused == ([code] if code else [])


@pytest.mark.parametrize("first", [ClientHeartbeat(number=1), ResultAck(results=[]), Submit()])
def test_a6_who_must_show_a_token_and_says_something_else_first_is_hung_up_on(
    first: Message,
) -> None:
    worker = strict_worker()
    connection = dialled(worker, "10.0.0.1")
    unread = Unreadable("", "no message")
    worker.feed(Received(connection, [(unread, b""), (first, b"")]))
    assert worker.take(connection, Error)[-1].error.code == Code.UNAUTHORIZED
    assert worker.closed == [connection], "else it could stay for as long as it likes"
    again = dialled(worker, "10.0.0.1")
    worker.feed(Received(again, [(SessionInit(token=ACME), b""), (first, b"")]))
    assert worker.one(again, SessionInitAck)
    assert worker.closed == [connection]


def test_a6_where_no_token_is_wanted_anything_may_be_said_first() -> None:
    worker = strict_worker(auth=AuthConfig())
    connection = dialled(worker, "127.0.0.1")
    worker.receive(connection, ClientHeartbeat(number=1))
    assert worker.one(connection, ClientHeartbeatAck)
    assert worker.closed == []


def test_a6_a_token_for_which_there_is_no_room_to_wait_costs_the_connection_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tokens_module, "POSTPONED_MAX", 1)
    worker = strict_worker()
    for _ in range(10):
        refusal(worker, token="wrong")
    waiting = dialled(worker, "10.0.0.1")
    worker.receive(waiting, SessionInit(token="wrong"))
    turned_away = dialled(worker, "10.0.0.1")
    worker.receive(turned_away, SessionInit(token="wrong"))
    assert worker.one(turned_away, Error).error.code == Code.RATE_LIMITED
    assert worker.closed[-1] == turned_away
