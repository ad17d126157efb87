"""One event, three forms; and what others choose cannot steer a terminal or forge a line."""

import json

from pointsman_shm.logs.events import KINDS, Event, Level
from pointsman_shm.logs.lines import FIELD_MAX, WORDS_MAX, Line, human, journal, machine
from pointsman_shm.logs.sampling import KEYS_MAX, TELL_AFTER_NS, Sampler

SECOND_NS = 1_000_000_000


def line(words: str = "node n1 is offline", **fields: str | int) -> Line:
    return Line(
        at_s=1_700_000_000.25,
        level=Level.WARNING,
        event=Event.NODE_LOST.value,
        process="worker-3",
        instance="home",
        pid=7,
        words=words,
        fields=tuple(fields.items()),
    )


def test_people_read_when_who_what_and_the_fields() -> None:
    assert human(line(node_id="n1", jobs=2)) == (
        b"2023-11-14T22:13:20.250Z pointsman worker 3: node n1 is offline"
        b" [WARNING node.lost node_id=n1 jobs=2]\n"
    )


def test_programs_read_json_in_one_line() -> None:
    told = machine(line("two\nlines", node_id="n1", level="forged"))
    assert told.count(b"\n") == 1
    assert json.loads(told) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "warning",
        "event": "node.lost",
        "process": "worker-3",
        "instance": "home",
        "pid": 7,
        "message": "two\nlines",
        "node_id": "n1",
    }


def test_journald_gets_a_priority_and_fields_of_our_own() -> None:
    datagram = journal(line(node_id="n1"))
    assert datagram.splitlines() == [
        b"PRIORITY=4",
        b"SYSLOG_IDENTIFIER=pointsman-worker-3",
        b"MESSAGE=node n1 is offline",
        b"POINTSMAN_EVENT=node.lost",
        b"POINTSMAN_PROCESS=worker-3",
        b"POINTSMAN_INSTANCE=home",
        b"POINTSMAN_NODE_ID=n1",
    ]


def test_a_value_of_several_lines_makes_no_field_in_journald() -> None:
    datagram = journal(line("left\nPRIORITY=0"))
    assert b"\nMESSAGE\n" + (15).to_bytes(8, "little") + b"left\nPRIORITY=0\n" in datagram


def test_what_a_node_calls_itself_can_neither_forge_a_line_nor_steer_a_terminal() -> None:
    evil = "n1\n2023-11-14T22:13:21.000Z pointsman: all is well\x1b[2J"
    written = human(line(evil, node_id=evil)).decode()
    first, *others = written.rstrip("\n").split("\n")
    assert first.startswith("2023-")
    assert all(other.startswith("    ") for other in others)
    assert "\x1b" not in written


def test_words_and_fields_are_cut() -> None:
    told = json.loads(machine(line("w" * 10 * WORDS_MAX, node_id="n" * 10 * FIELD_MAX)))
    assert (len(told["message"]), len(told["node_id"])) == (WORDS_MAX, FIELD_MAX)
    assert len(human(line("w" * 10 * WORDS_MAX))) < WORDS_MAX + 200


def test_lone_surrogates_are_written_all_the_same() -> None:
    for form in (human, machine, journal):
        assert form(line("\udc80", node_id="\udc80"))


def test_every_event_has_a_level_and_a_meaning() -> None:
    assert set(KINDS) == set(Event)
    assert all(kind.meaning.endswith(".") for kind in KINDS.values())


def test_a_burst_is_written_and_the_rest_is_counted() -> None:
    sampler = Sampler(per_s=2, burst=3)
    written = [sampler.may_write("a", 0) for _ in range(10)]
    assert written == [True] * 3 + [False] * 7
    assert sampler.may_write("b", 0), "each event has a bucket of its own"
    assert [sampler.may_write("a", SECOND_NS) for _ in range(3)] == [True, True, False]
    assert sampler.take_kept_back(TELL_AFTER_NS - 1) == []
    assert sampler.take_kept_back(TELL_AFTER_NS) == [("a", 8)]
    assert sampler.take_kept_back(100 * TELL_AFTER_NS) == []


def test_what_was_kept_back_is_told_at_the_end() -> None:
    sampler = Sampler(per_s=1, burst=1)
    for _ in range(1_235):
        sampler.may_write("a", 5)
    assert sampler.take_kept_back(5, is_last=True) == [("a", 1_234)]


def test_the_buckets_are_bounded() -> None:
    sampler = Sampler(per_s=0.1, burst=1)
    assert all(sampler.may_write(f"event {n}", 0) for n in range(KEYS_MAX))
    assert sampler.may_write("one more", 0)
    assert not sampler.may_write("yet another", 0), "those share a bucket"
