"""Every byte form that was ever released stays readable, and today's is what is on record."""

from pathlib import Path

import msgspec
import pytest
import wire_golden
from wire_samples import as_map, message_types, samples, union_of

from pointsman_wire.framing import FrameDecoder, HeaderDecoder
from pointsman_wire.messages import Message

ADVICE = "after a change that is meant: python tests/wire_golden.py --write"


def read_back(name: str, frame: bytes) -> Message:
    [(header, payload)] = FrameDecoder().feed(frame)
    assert payload == wire_golden.PAYLOAD
    decoder: HeaderDecoder[Message] = HeaderDecoder(union_of(samples()[name]))
    return decoder.decode(header)


@pytest.mark.parametrize("name", sorted(message_types()))
def test_the_bytes_of_a_message_are_those_on_record(name: str) -> None:
    forms = wire_golden.read(name)
    newest = list(forms.values())[-1] if forms else b""
    assert wire_golden.frames()[name].hex() == newest.hex(), ADVICE


@pytest.mark.parametrize("name", sorted(message_types()))
def test_every_form_on_record_is_read_as_what_it_meant(name: str) -> None:
    now = as_map(samples()[name])
    for label, frame in wire_golden.read(name).items():
        told = msgspec.msgpack.decode(next(FrameDecoder().feed(frame))[0])
        understood = as_map(read_back(name, frame))
        kept = {field: value for field, value in told.items() if field in now}
        assert understood == {**understood, **kept}, f"{name} of {label}"


@pytest.mark.parametrize("name", sorted(message_types()))
def test_the_newest_form_gives_the_sample_back(name: str) -> None:
    assert read_back(name, list(wire_golden.read(name).values())[-1]) == samples()[name]


def test_no_record_is_of_a_message_that_is_gone() -> None:
    assert {path.stem for path in wire_golden.FOLDER.glob("*")} == set(message_types())


def test_writing_keeps_what_is_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire_golden, "FOLDER", tmp_path / "golden")
    assert set(wire_golden.write_changed()) == set(message_types())
    assert wire_golden.write_changed() == []
    wire_golden.release("1.0")
    old = wire_golden.read("drain")
    assert list(old) == ["1.0"]
    assert wire_golden.write_changed() == [], "a released form that still holds needs no next"
    changed = {**wire_golden.frames(), "drain": b"another form"}
    monkeypatch.setattr(wire_golden, "frames", lambda: changed)
    assert wire_golden.write_changed() == ["drain"]
    assert wire_golden.read("drain") == {**old, "next": b"another form"}
    with pytest.raises(SystemExit, match=r"release 1\.0 already"):
        wire_golden.release("1.0")
