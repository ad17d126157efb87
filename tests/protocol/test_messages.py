"""What holds for all messages: named fields, defaults left out, unknown fields ignored."""

import pkgutil
from importlib import import_module
from typing import Any, get_args

import msgspec
import pytest
from msgspec import inspect
from wire_samples import UNIONS, as_map, message_types, samples, union_of

import pointsman_wire
from pointsman_wire.control_messages import NODE_ID_PATTERN, Heartbeat, Register, ToManager
from pointsman_wire.framing import HeaderDecoder, MessageError
from pointsman_wire.lane_messages import JobFence, LaneReport, LaneToWorker
from pointsman_wire.limits import HANDSHAKE_BYTES_MAX, MAX_CONCURRENCY_MAX, REGISTER_BYTES_MAX
from pointsman_wire.messages import Message
from pointsman_wire.session_messages import SessionInit, Submit, ToWorker

NAMES = sorted(message_types())


def decode(union: Any, fields: dict[str, Any]) -> Message:
    decoder: HeaderDecoder[Message] = HeaderDecoder(union)
    return decoder.decode(msgspec.msgpack.encode(fields))


def defined() -> set[type[Message]]:
    for module in pkgutil.walk_packages(pointsman_wire.__path__, "pointsman_wire."):
        if module.name.endswith("messages"):
            import_module(module.name)
    found = {*Message.__subclasses__()}
    while bases := {cls for cls in found if cls.__subclasses__()}:
        found = (found - bases).union(*(base.__subclasses__() for base in bases))
    return found


def test_every_message_that_is_defined_is_understood_by_somebody() -> None:
    named = {cls for cls in defined() if cls.__module__.startswith("pointsman_wire.")}
    assert named == set(message_types().values())


def test_one_name_is_one_message() -> None:
    for union in UNIONS.values():
        for member in get_args(union):
            assert message_types()[member.__struct_config__.tag] is member


@pytest.mark.parametrize("name", NAMES)
def test_a_full_message_comes_back_as_it_was(name: str) -> None:
    message = samples()[name]
    assert decode(union_of(message), as_map(message)) == message


@pytest.mark.parametrize("name", NAMES)
def test_fields_that_are_not_known_are_ignored(name: str) -> None:
    message = samples()[name]
    more = {"from_the_future": {"a": [1, {"b": None}]}, **as_map(message), "zz": b"\x00" * 99}
    assert decode(union_of(message), more) == message


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_fields_says_nothing_and_the_type_may_come_last(name: str) -> None:
    message = samples()[name]
    backwards = dict(reversed(as_map(message).items()))
    assert decode(union_of(message), backwards) == message


@pytest.mark.parametrize("name", NAMES)
def test_fields_at_their_default_are_not_sent_and_may_be_left_out(name: str) -> None:
    cls = message_types()[name]
    info = inspect.type_info(cls)
    assert isinstance(info, inspect.StructType)
    required = {f.encode_name for f in info.fields if f.required}
    full = as_map(samples()[name])
    bare = {key: value for key, value in full.items() if key in required | {"type"}}
    message = decode(union_of(samples()[name]), bare)
    assert as_map(message) == bare


def test_a_null_stands_for_nothing_only_where_the_field_allows_it() -> None:
    assert decode(ToWorker, {"type": "submit", "timeout_s": None}) == Submit()
    with pytest.raises(MessageError, match=r"\$\.session_number"):
        decode(ToWorker, {"type": "submit", "session_number": None})


def test_a_whole_number_does_for_a_fraction() -> None:
    assert decode(ToWorker, {"type": "submit", "timeout_s": 5}) == Submit(timeout_s=5.0)


def test_a_fence_without_the_request_is_read() -> None:
    told = {"type": "lane_report", "running": [["j", 3, 4]]}
    assert decode(LaneToWorker, told) == LaneReport(running=[JobFence("j", 3, 4)])


@pytest.mark.parametrize("slots", [0, -1, MAX_CONCURRENCY_MAX + 1, 10**9, 2**63, 2**64 - 1])
def test_a_node_cannot_claim_more_slots_than_there_may_be(slots: int) -> None:
    with pytest.raises(MessageError, match=r"\$\.max_concurrency"):
        decode(ToManager, {"type": "register", "max_concurrency": slots})


@pytest.mark.parametrize("node_id", ["a b", "a/b", "a\n", "\na", "ä", "a\0", "x" * 65])
def test_a_node_id_is_plain(node_id: str) -> None:
    with pytest.raises(MessageError, match=r"\$\.node_id"):
        decode(ToManager, {"type": "register", "node_id": node_id})


def test_usual_node_ids_are_fine() -> None:
    assert NODE_ID_PATTERN.startswith("^")
    for node_id in ("", "studio", "gpu-7.lan:0_A", "x" * 64):
        assert decode(ToManager, {"type": "register", "node_id": node_id}) == Register(
            node_id=node_id
        )


def test_a_percentage_out_of_range_is_read_but_one_that_is_no_number_is_not() -> None:
    assert decode(ToManager, {"type": "heartbeat", "cpu_percent": 140.0}) == Heartbeat(
        cpu_percent=140.0
    )
    for wrong in (float("nan"), float("inf"), float("-inf")):
        with pytest.raises(MessageError, match=r"\$\.cpu_percent"):
            decode(ToManager, {"type": "heartbeat", "cpu_percent": wrong})


def test_usual_first_messages_fit_the_bounds_of_a_handshake() -> None:
    ids = [f"{'x' * 32}-{i:03}" for i in range(256)]
    init = SessionInit(session_id="s" * 128, resume_token="t" * 64, unfinished=ids)
    assert len(msgspec.msgpack.encode(init)) < HANDSHAKE_BYTES_MAX
    register = samples()["register"]
    assert isinstance(register, Register)
    assert register.services
    many = msgspec.structs.replace(register, services=list(register.services) * 32)
    assert len(msgspec.msgpack.encode(many)) < REGISTER_BYTES_MAX
