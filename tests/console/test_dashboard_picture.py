"""What a viewer of the dashboard is told: the newest state, bounded, however it reads."""

import random
from typing import Any

import msgspec

from pointsman_sched.console.dashboard.picture import (
    FRAME_BYTES_MAX,
    GONE_MAX,
    VALUE_BYTES_MAX,
    Picture,
)

Tables = dict[str, dict[Any, Any]]


class Viewer:
    """Does with frames what the page does."""

    def __init__(self) -> None:
        self.tables: Tables = {}
        self.number = self.begun = 0
        self.bytes = 0
        self.starts = 0

    def read(self, picture: Picture) -> None:
        """Read one frame."""
        frame = picture.after(self.number, self.begun)
        assert len(frame.data) <= FRAME_BYTES_MAX + 100
        said = msgspec.json.decode(frame.data)
        assert frame.number > self.number or not frame.has_more or said.get("start")
        if said.get("start"):
            self.tables = {}
            self.starts += 1
        for table, key, *values in said["items"]:
            if values:
                self.tables.setdefault(table, {})[key] = values[0]
            else:
                self.tables.get(table, {}).pop(key, None)
        self.number, self.begun = frame.number, frame.begun
        self.bytes += len(frame.data)

    def read_all(self, picture: Picture) -> None:
        """Read until there is nothing more."""
        self.read(picture)
        while picture.after(self.number, self.begun).has_more:
            self.read(picture)
        self.read(picture)


def shown(tables: Tables) -> Tables:
    return {name: rows for name, rows in tables.items() if rows}


def test_a_viewer_is_told_what_changed_and_nothing_else() -> None:
    picture, viewer = Picture(), Viewer()
    picture.set_table("pool", {1: ["a", 3], 2: ["b", 4]})
    viewer.read(picture)
    assert viewer.tables == {"pool": {1: ["a", 3], 2: ["b", 4]}}
    picture.set_table("pool", {1: ["a", 3], 2: ["b", 5]})
    assert picture.after(viewer.number).data == b'{"items":[["pool",2,["b",5]]]}'
    viewer.read(picture)
    assert picture.after(viewer.number).data == b'{"items":[]}'
    picture.set_table("pool", {2: ["b", 5]})
    assert picture.after(viewer.number).data == b'{"items":[["pool",1]]}'


def test_who_did_not_read_gets_the_newest_state_and_no_backlog() -> None:
    picture, slow = Picture(), Viewer()
    picture.set_table("load", {row: [0] for row in range(100)})
    slow.read_all(picture)
    before = slow.bytes
    for turn in range(1_000):
        picture.set_table("load", {row: [turn + row] for row in range(100)})
    slow.read_all(picture)
    assert slow.tables["load"] == {row: [999 + row] for row in range(100)}
    assert slow.bytes - before < 3_000, "one state, not a thousand"


def test_frames_are_bounded_and_together_they_are_everything() -> None:
    picture, viewer = Picture(), Viewer()
    nodes = {row: [f"node-{row}" * 5, row] for row in range(10_000)}
    picture.set_table("node", nodes)
    first = picture.after(0)
    assert first.has_more
    viewer.read_all(picture)
    assert viewer.tables["node"] == nodes
    assert viewer.starts == 1


def test_a_value_too_large_for_a_frame_is_left_out() -> None:
    picture = Picture()
    picture.put("job", 1, ["x" * VALUE_BYTES_MAX])
    assert len(picture) == 0
    picture.put("job", 1, ["x" * (VALUE_BYTES_MAX - 20)])
    assert len(picture) == 1


def test_what_is_gone_is_forgotten_in_the_end_and_old_viewers_begin_anew() -> None:
    picture, old, young = Picture(), Viewer(), Viewer()
    picture.set_table("node", {row: ["n"] for row in range(GONE_MAX + 10)})
    old.read_all(picture)
    picture.set_table("node", {0: ["n"]})
    assert len(picture) == GONE_MAX + 1, "what is remembered of the dead is bounded"
    young.read_all(picture)
    old.read_all(picture)
    assert shown(old.tables) == shown(young.tables) == {"node": {0: ["n"]}}
    assert (old.starts, young.starts) == (2, 1)


def test_equal_viewers_share_their_frame() -> None:
    picture = Picture()
    picture.put("now", "second", 1)
    assert picture.after(0) is picture.after(0)


def test_viewers_that_read_now_and_then_all_end_with_the_same_tables() -> None:
    """Random changes, removals and readers, seeded: each ends with what is."""
    dice = random.Random(8)
    picture = Picture()
    viewers = [Viewer() for _ in range(5)]
    truth: Tables = {"a": {}, "b": {}}
    for _ in range(400):
        table = dice.choice(("a", "b"))
        rows = truth[table]
        for key in [key for key in rows if dice.random() < 0.2]:
            del rows[key]
        for _ in range(dice.randint(0, 30)):
            rows[dice.randint(0, 300)] = [dice.randint(0, 3), "x" * dice.randint(0, 300)]
        picture.set_table(table, dict(rows))
        for viewer in viewers:
            if dice.random() < 0.1:
                viewer.read(picture)
    for viewer in viewers:
        viewer.read_all(picture)
        assert shown(viewer.tables) == shown(truth)


def test_who_comes_late_to_a_large_fleet_is_told_all_of_it_although_much_is_forgotten() -> None:
    """Jobs come and go while nodes stay: what stays is older than what was forgotten since."""
    picture, late = Picture(), Viewer()
    nodes = {row: [f"node-{row}" * 5, row] for row in range(10_000)}
    picture.set_table("node", nodes)
    for job in range(GONE_MAX + 100):
        picture.set_table("job", {f"j-{job}": [job]})
    for _ in range(30):
        late.read(picture)
    assert late.tables["node"] == nodes
    assert late.starts == 1
    amid = Viewer()
    amid.read(picture)
    for job in range(GONE_MAX + 100):  # some of what it was told is gone by now, and forgotten
        picture.set_table("job", {f"k-{job}": [job]})
    for viewer in (late, amid):
        viewer.read_all(picture)
        assert viewer.tables == {"node": nodes, "job": {f"k-{GONE_MAX + 99}": [GONE_MAX + 99]}}
        assert viewer.starts == 2
