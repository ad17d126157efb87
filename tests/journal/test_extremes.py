"""Extremes: each number and each text of what peers send at its bound, one at a time.

Whatever comes of it: what is written down can be read by a successor, and what is sent by who gets
it.  A worker does not start on a journal that it cannot read.
"""

from typing import Any, TypeVar

import msgspec
import pytest
from fleet_samples import speech_class
from journal.journalled import THERE
from msgspec import inspect
from msgspec.structs import replace
from worker_harness import SECOND_NS, Host, WorkerHarness

from pointsman_shm.config import Config
from pointsman_wire.lane_messages import LaneToNode, NodeResult
from pointsman_wire.link import Send
from pointsman_wire.messages import Message
from pointsman_wire.preamble import Role
from pointsman_wire.session_messages import (
    ResultAck,
    SessionInit,
    SessionInitAck,
    Submit,
    ToClient,
)
from pointsman_wire.talk.talk_messages import AudioChunk, Utterance
from pointsman_workers.core.events import WriteJournal
from pointsman_workers.journal.entries import AnyEntry

# In lower case it is two characters.
GROWS = "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}"
M = TypeVar("M", bound=Message)
LONG = 4_096  # of a text without a bound
_written = msgspec.msgpack.Decoder(list[AnyEntry])
_sent = msgspec.msgpack.Decoder(ToClient | LaneToNode)


def extreme(kind: inspect.Type) -> Any:
    """The largest value of a type, None for those that have none."""
    if isinstance(kind, inspect.UnionType):
        return next(filter(None, map(extreme, kind.types)), None)
    if isinstance(kind, inspect.IntType):
        return 2**63 - 1 if kind.le is None else kind.le
    if isinstance(kind, inspect.FloatType):
        return kind.le
    if isinstance(kind, inspect.StrType):
        return GROWS * (kind.max_length or LONG)
    if isinstance(kind, inspect.ListType):
        item = extreme(kind.item_type)
        return None if item is None else [item] * min(kind.max_length or 4, 4)
    if isinstance(kind, inspect.DictType):
        key, value = extreme(kind.key_type), extreme(kind.value_type)
        return {key: value} if key and value else None
    return None


def extremes_of(*bases: M) -> list[M]:
    """Each base, with each of its fields at its extreme."""
    made = []
    for base in bases:
        told = inspect.type_info(type(base))
        assert isinstance(told, inspect.StructType)
        for field in told.fields:
            value = extreme(field.type)
            if value is not None and field.name != "session_number":
                made.append(replace(base, **{field.name: value}))
    return made


def name_of(message: Message) -> str:
    """As a test is called."""
    base = type(message)
    fields = [f for f in base.__struct_fields__ if extreme_is_in(getattr(message, f))]
    return f"{base.__name__}-{'-'.join(fields)}"


def extreme_is_in(value: Any) -> bool:
    return GROWS in str(value) or value == 2**63 - 1


def check(commands: list[object]) -> None:
    """What is written, and what is sent, can be read."""
    for command in commands:
        if isinstance(command, WriteJournal):
            _written.decode(msgspec.msgpack.encode(list(command.entries)))
        elif isinstance(command, Send):
            _sent.decode(msgspec.msgpack.encode(command.message))


def worker() -> WorkerHarness:
    """With a journal, and a node that does everything between two languages."""
    host = Host(Config())
    host.node(3, speech_class("en", "es"), slots=8)
    host.publish(SECOND_NS)
    harness = WorkerHarness(host, journal=THERE)
    harness.feed()
    return harness


INIT = SessionInit(session_id="s-1", src_lang="en", tgt_lang="es", order="utterance")
TWO_WAYS = replace(INIT, mode="two_way", lang_a="en", lang_b="es", hears="es")
SUBMIT = Submit(request_id="r-1", services=["nmt"])
SAID = Utterance(utterance_id="u-1", text="hello")
SOUND = AudioChunk(utterance_id="u-1", is_final=True)


def play(init: SessionInit, said: Message, ended: dict[str, Any]) -> None:
    """One session: something is said, then a usual job asked for, and all of it ends."""
    h = worker()
    node = h.open_lane(3)
    connection = h.dial(Role.SESSION)
    h.receive(connection, init)
    if h.take(connection, SessionInitAck):
        h.receive(connection, said, b"\x01\x02" * 16_000 if said is SOUND else b"")
        h.receive(connection, Submit(request_id="next", services=["nmt"]), b"hello")
        for job in node.assignments():
            node.end(job, b"hola", **ended)
        h.receive(connection, ResultAck(results=[(0, 2**63 - 1)]))
        h.advance(20)
    check(h.commands)


@pytest.mark.parametrize("init", extremes_of(INIT, TWO_WAYS), ids=name_of)
def test_of_a_session(init: SessionInit) -> None:
    for said in (SUBMIT, SAID, SOUND):
        play(init, said, {})


@pytest.mark.parametrize("said", extremes_of(SUBMIT, SAID, SOUND), ids=name_of)
def test_of_what_is_asked_for(said: Message) -> None:
    for init in (INIT, TWO_WAYS, replace(INIT, order="serial")):
        play(init, said, {})


RESULT = NodeResult(number=1, job_id="j", epoch=1, dispatch=1)


@pytest.mark.parametrize("result", extremes_of(RESULT), ids=name_of)
@pytest.mark.parametrize("status", ["completed", "failed"])
def test_of_a_result(result: NodeResult, status: str) -> None:
    fields = ("content_type", "duration_us", "code", "message")
    ended = {name: getattr(result, name) for name in fields}
    play(INIT, SUBMIT, {**ended, "status": status})
