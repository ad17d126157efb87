"""The bench of WebSocket sessions: its frames are the worker's, and what it measures is told."""

from benches.test_bench_tables import run_in_bench

FRAMES = """
from web_sessions.encodings import SAMPLES, Web
from web_sessions.raw_web import frame_at, message_frame
from pointsman_wire.sockets.web.json_messages import encode_web_message, split_binary
for size in (1, 200, 100_000):
    for _, message, _ in SAMPLES:
        way, payload = Web(), bytes(size)
        is_text, data = encode_web_message(message, payload)
        assert not is_text
        assert way.read(message_frame(split_binary(data)[0], payload)) == (message, payload)
        written = way.write(message, payload)
        opcode, begin, end = frame_at(b"?" + written + b"next", 1)
        assert (opcode, written[begin - 1 : end - 1]) == (2, data)
        assert all(frame_at(written[:short], 0) is None for short in (0, 1, len(written) - 1))
"""
COSTS = """
from web_sessions import encodings
encodings.CALLS = 20
rows = encodings.encoding_rows(is_quick=True)
for binary, web in zip(rows[::2], rows[1::2], strict=True):
    print(binary["message"], binary["encoding"], web["message"], web["encoding"])
    assert web["read_bytes"] == web["written_bytes"] + 4, "the mask of a client's frame"
    assert 0 < binary["read_bytes"] == binary["written_bytes"] < web["written_bytes"]
    assert min(row[key] for row in (binary, web) for key in ("read_us", "write_us")) > 0
"""
PAGES = """
from _pages import promises, web
from _pages.results import Result, load_results
results = load_results()
machine = results["costs"].machine | {"options": ""}
def row(kind, columns, **more):
    return {column.key: 1.0 for column in columns} | {"kind": kind} | more
sound = row("audio", web.SOUND + web.ANSWERS, sessions=5_000, speakers=200, talking_pss_mib=600.5)
slow = row("slow readers", web.SLOW, beside="not reading", slow_ended=7)
encoding = row("encoding", web.ENCODING, message="submit", encoding="JSON")
results["talking"] = Result("talking", machine, [sound, slow, encoding])
print(web.talking(results))
print(promises.budgets(results))
"""


def test_the_frames_of_the_benchs_clients_are_read_and_written_as_by_the_worker() -> None:
    run_in_bench("-c", FRAMES)


def test_submit_partial_and_result_are_weighed_in_both_encodings() -> None:
    said = run_in_bench("-c", COSTS).splitlines()
    names = ("submit", "partial", "result")
    assert said == [f"{name} msgpack {name} JSON" for name in names]


def test_what_web_sessions_cost_is_told_and_held_against_its_budget_once_it_was_measured() -> None:
    said = run_in_bench("-c", PAGES)
    assert "| 5,000 | 200 | 1 | 1 | 1 | 600 | 1 | 1 | 1 |" in said
    assert "| not reading | 1 | 1 | 7 | 1 | 1 | 1 | 1 |" in said
    assert "| submit | JSON | 1 | 1 | 1 | 1 | 1 | 1 |" in said
    assert "-m web_sessions.talking --json docs/performance/results/talking.json" in said
    what = "memory of two workers, 5,000 WebSocket sessions of which 200 speak, MiB"
    assert f"| {what} | < 512 | 600 | **missed** |" in said
