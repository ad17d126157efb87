"""Who is hung, judged by words that stand still, on a clock of the test's own."""

import os
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

import pytest

from pointsman_sched.supervisor.watching import HangJudge, read_words
from pointsman_shm.memory.segment import create_segment, unlink_segment
from pointsman_shm.memory.stats import StatsPage
from pointsman_shm.paths import InstancePaths, resolve_paths

S = 1_000_000_000
LOOK_NS = S // 2


class Room:
    """Two children; `let` says which of them move while time passes."""

    def __init__(self, hung_s: int = 3) -> None:
        self.judge = HangJudge(hung_ns=hung_s * S, look_ns=LOOK_NS)
        self.now_ns = 0
        self.words: dict[str, int | None] = {"manager": 1, "worker-0": 1}
        self.look()

    def look(self) -> set[str]:
        return set(self.judge.look(self.now_ns, self.words))

    def let(self, seconds: float, *moving: str) -> set[str]:
        """Pass time in looks that are in time; return who was hung at the last."""
        hung: set[str] = set()
        for _ in range(round(seconds * S / LOOK_NS)):
            self.now_ns += LOOK_NS
            for name in moving:
                self.words[name] = self.now_ns
            hung = self.look()
        return hung


def test_a_word_that_stands_for_the_limit_is_hung_and_one_that_moves_never() -> None:
    room = Room()
    assert room.let(2.5, "manager") == set()
    assert room.let(0.5, "manager") == {"worker-0"}
    assert room.let(60, "manager", "worker-0") == set()


def test_a_pause_shorter_than_the_limit_is_forgiven_and_forgotten() -> None:
    """P6, P7: 2 s of standing still, again and again, is nobody's end."""
    room = Room()
    for _ in range(10):
        assert room.let(2.5, "manager") == set()
        assert room.let(0.5, "manager", "worker-0") == set()


@pytest.mark.parametrize("away_s", [1, 30, 3600])
def test_a_supervisor_that_did_not_run_itself_blames_nobody_for_that_time(away_s: int) -> None:
    """C2, T9: a suspended machine stops all; those that do not wake up are found afterwards."""
    room = Room()
    assert room.let(2) == set()
    room.now_ns += away_s * S + LOOK_NS
    assert room.look() == set()
    assert room.let(0.5, "manager") == {"worker-0"}


def test_a_successor_begins_with_a_time_of_its_own() -> None:
    room = Room()
    assert room.let(3, "manager") == {"worker-0"}
    del room.words["worker-0"]  # killed, and not ready again yet
    assert room.let(1, "manager") == set()
    room.words["worker-0"] = 1  # the predecessor's last word still stands in the page
    assert room.let(3, "manager") == set()
    assert room.let(0.5, "manager") == {"worker-0"}


def test_a_page_that_cannot_be_read_is_no_reason_to_kill() -> None:
    """S7, S8: a segment that was cut or removed is for its users to notice."""
    room = Room()
    room.words["worker-0"] = None
    assert room.let(30, "manager") == set()


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[InstancePaths]:
    found = resolve_paths(
        f"t-{os.getpid()}-{token_hex(6)}",
        state_dir=str(tmp_path / "s"),
        runtime_dir=str(tmp_path / "r"),
        environment={},
        user_id=os.geteuid(),
    )
    yield found
    unlink_segment(found.stats_segment("manager"))


def test_words_are_read_from_pages_whatever_was_done_to_them(paths: InstancePaths) -> None:
    """S7: the supervisor survives a page that somebody cuts under it."""
    assert read_words(paths, ["manager"]) == {"manager": None}
    name = paths.stats_segment("manager")
    with create_segment(name, StatsPage.size()) as segment:
        assert read_words(paths, ["manager"]) == {"manager": None}, "half-made"
        page = StatsPage(segment.buffer, create=True)
        page.beat(7)
        assert read_words(paths, ["manager"]) == {"manager": 7}
        page.beat(8)
        assert read_words(paths, ["manager"]) == {"manager": 8}
        os.truncate(f"/dev/shm{name}", 20)
        assert read_words(paths, ["manager"]) == {"manager": None}
        del page
