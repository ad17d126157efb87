"""What all benches share: tables, medians, pages; measured by nobody here."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCHES = sorted(path.name for path in (ROOT / "bench").glob("*.py"))
MODULES = ("hosts.coordination", "hosts.end_to_end", "hosts.tls_storm", "web_sessions.talking")
HELPING = """
import runpy, sys
for name in sys.argv[1:]:
    sys.argv = [name, "--help"]
    run = runpy.run_path if name.endswith(".py") else runpy.run_module
    try:
        run(name, run_name="__main__")
    except SystemExit as end:
        assert not end.code, name
"""
PRINTING = """
from _shared.report import median_row, print_table
rounds = [{"system": "a", "depth": 1, "cpu_us": cost} for cost in (3.0, 9.0, 5.0)]
print_table([median_row(rounds), {"system": "b", "variant": "c", "depth": 8, "cpu_us": 12_345.6}])
print_table([{"kind": "wide", **{f"some_long_key_number_{n}": float(n) for n in range(40)}}])
"""
FILLING = """
from _pages.performance import TABLES, fill
from _pages.pictures import PICTURES, draw_all
from _pages.plot import Axis, Series, draw
from _pages.results import Result, load_results
results = load_results()
page = "".join(f"<!-- table: {name} -->\\nold\\n<!-- end -->\\n" for name in TABLES)
filled = fill(page, results)
assert fill(filled, results) == filled, "a page that is written again stays as it is"
assert fill(page, {}) == page, "what was not measured is left alone"
assert set(draw_all(results)) <= set(PICTURES)
line = Series(label="a & b", points=[(1, 3.0), (512, 40.0)], color=0)
picture = draw("t", Axis(label="x"), Axis(label="y", is_log=False), [line])
assert picture.count("<circle") == 2 and "a &amp; b" in picture
print(filled)
"""

SHARING = """
from _pages import hosts, promises
from _pages.results import Result, load_results
results = load_results()
machine = results["costs"].machine | {"options": ""}
alone = {"kind": "end to end", "backing": "local", "in_flight": 64, "cpu_us_per_job": 100.0,
    "redis_us_per_job": 0.0, "jobs_per_s": 9_000.0, "p50_us": 500.0, "p99_us": 1000.0}
shared = alone | {"backing": "redis", "cpu_us_per_job": 130.0, "redis_us_per_job": 30.0,
    "jobs_per_s": 7_000.0, "p50_us": 900.0, "p99_us": 1800.0,
    "added_p50_us": 400.0, "added_p99_us": 800.0}
layer = {"kind": "layer", "in_flight": 64, "worker_us": 38.0, "redis_us": 40.0,
    "redis_bind_us": 20.0, "commands": 2.0, "bind_ratio": 1.3}
results["end_to_end"] = Result("end_to_end", machine, [alone, shared])
results["coordination"] = Result("coordination", machine, [layer])
for made in (hosts.end_to_end, hosts.coordination, promises.beyond, promises.budgets):
    print(made(results))
"""

REPLAYING = """
from random import Random
from _replay.fleets import capacity_of, figures, speeds_of
from _replay.ours import run_ours
from _replay.simple import LeastConnections, run_clairvoyant, run_simple
from _replay.traces import Arrival, replay
arrivals = [Arrival(at_s=n / 2, service_s=60.0, session=n) for n in range(240)]
speeds = speeds_of(10)
ours = run_ours(arrivals, speeds, 8)
assert ours.core_s > 0
least = run_simple(LeastConnections(10), arrivals, speeds)
bound = run_clairvoyant(arrivals, speeds)
for ran in (ours, least, bound):
    assert len(ran.done) == 240
    assert all(job.came_s - 1e-6 <= job.began_s < job.ended_s for job in ran.done)
    assert figures(ran.done)["wait_mean_ms"] >= figures(bound.done)["wait_mean_ms"]

made = replay(arrivals, capacity=45.0, load=0.8, jobs_wanted=800, jobs_max=800)
assert (made.copies, len(made.arrivals)) == (3, 720), "whole copies, below what is allowed"
span_s = 120.5 / made.warp
assert abs(720 * 60.0 / span_s - 0.8 * 45.0) < 1e-6, "so much work comes in a second"
assert all(0 <= job.at_s <= span_s for job in made.arrivals)
assert len(replay(arrivals, capacity=45.0, load=0.8, jobs_wanted=9, jobs_max=100).arrivals) == 100

chooser, counts, random = LeastConnections(7), [0] * 7, Random(3)
for _ in range(5_000):
    busy = [node for node in range(7) if counts[node]]
    if busy and random.random() < 0.45:
        node = random.choice(busy)
        counts[node] -= 1
        chooser.ended(node)
    else:
        node = chooser.choose()
        assert counts[node] == min(counts)
        counts[node] += 1
print("well")
"""

DECIDING = """
from decisions import measure_anew
for state in ("free", "saturated"):
    row = measure_anew(10, state, 20)
    print("well" if 0 < row["p50_us"] < 100_000 else row)
"""

TELLING = """
from _pages.pictures import sample_sizes
from _pages.results import Result, load_results
from _pages.traces import replayed
machine = load_results()["costs"].machine | {"options": "--quick"}
one = {"trace": "b_calm", "system": "pointsman", "nodes": 1000, "load": 0.5, "jobs": 20_000,
    "wait_mean_ms": 12.5, "missed_percent": 0.001, "slowdown_mean": 0.8, "cpu_us_per_job": 50.0}
rows = [one, one | {"system": "random", "wait_mean_ms": 700.0, "missed_percent": 20.0}]
rows += [one | {"variant": f"sample_size={size}", "slowdown_mean": 0.7} for size in (2, 32)]
live = one | {"kind": "real time", "variant": "real-time", "nodes": 10, "load": 0.8,
    "time_scale": 0.2, "wait_p99_ms": 90.0, "slowdown_p99": 2.0, "client_late_p99_ms": 1.5}
del live["cpu_us_per_job"]
pool = one | {"kind": "pools"}
three = pool | {"variant": "three pools", "cpu_us_per_job": 90.0}
fleets = [row | {"kind": "fleets"} for row in rows[:2]]
samples = [row | {"kind": "sample sizes"} for row in (one, *rows[2:])]
results = {"trace": Result("trace", machine, [*fleets, *samples, pool, three, live])}
print(replayed(results))
assert "CPU, b<" in sample_sizes(results)
"""

RETURNING = """
from _pages import promises, sections
from _pages.results import Result, load_results
machine = load_results()["costs"].machine | {"options": "--nodes 10000"}
row = {"nodes": 10_000, "joined_s": 70.0, "back": 10_000, "all_back_s": 48.5, "false_deaths": 0,
    "jobs": 2_000, "jobs_failed": 0, "client_p99_ms": 12.0, "manager_rss_times": 1.05}
late = row | {"nodes": 15_000, "back": 14_999, "false_deaths": 3}
results = {"reconnects": Result("reconnects", machine, [row, late])}
print(sections.reconnects(results), promises.budgets(results))
"""

REFUSING = """
import msgspec
from _load.offers import Stretch
from overload import rows_of
calm = Stretch(offered=1_000, completed=1_000, refused=0, expired=0, p50_ms=41.0, p99_ms=43.0,
    recovered_s=0.0, completed_by_worker=[500, 500], server_cpu_s=0.2)
full = msgspec.structs.replace(calm, server_cpu_s=0.1, expired=1)
most = msgspec.structs.replace(full, offered=5_000, refused=1_000, expired=3_000, server_cpu_s=0.3)
rows = rows_of([calm, calm, full, most, most, most, calm], 1.0)
print([round(row["refusal_cpu_us"], 6) for row in rows])
"""

COUNTING = """
from _counting import hardware
from _load.orders import Outcome, cpu_of
import os, time
print(hardware.read_counts(
    "# started\\n\\n40.5,msec,task-clock,1,100.00,,\\n7,,cycles:u,1,100.00,,\\n"
    "<not counted>,,cache-misses:u,0,100.00,,\\n<not supported>,,instructions:u,0,100.00,,\\n"
))

class Busy:
    server_pid = os.getpid()
    def run(self, order):
        before = cpu_of({"server": self.server_pid})["server"]
        while (used := cpu_of({"server": self.server_pid})["server"] - before) < 2e8:
            sum(range(1_000))
        used_s = {"server": used / 1e9}
        return Outcome(jobs=100, elapsed_s=0.2, p50_us=0.0, p99_us=0.0, cpu_s=used_s)

hardware.ATTACH_S = 0.1
if hardware.shutil.which("perf"):
    found = {}
    for group in hardware.GROUPS:
        found |= hardware._counted(Busy(), 1, group)
    for key, least in (("cycles", 500_000), ("instructions", 500_000), ("cache_misses", 0)):
        assert found.get(key, 1e6) >= least, found
hardware.shutil.which = lambda name: None
assert hardware.count_hardware([1]) == []
"""

COUNTED = """
from _pages.counted import hardware, instructions
from _pages.performance import fill
from _pages.results import Result, load_results
machine = load_results()["costs"].machine | {"options": ""}
old = [
    {"system": "pointsman", "depth": 64, "read_calls": 0.2},
    {"system": "pointsman core", "depth": 64, "instructions": 168_600.4},
    {"system": "manager core", "nodes": 1_000, "instructions": 35_800.0},
]
row = {"kind": "hardware", "system": "floor", "depth": 64, "cycles": 20_000.0,
    "instructions": 60_000.0, "instructions_per_cycle": 3.0, "cache_misses": 50.0}
ours = row | {"system": "pointsman", "cycles": 110_000.0, "instructions": 210_000.0}
compiled = ours | {"variant": "compiled", "branch_misses": 5.0}
page = "<!-- table: hardware -->\\nold\\n<!-- end -->"
for rows in (old, [*old, ours, compiled, row]):
    results = {"counting": Result("counting", machine, rows)}
    print(instructions(results))
    print(fill(page, results))
    print("--")
"""

MISSING = """
from contextlib import ExitStack
from _load import systems
systems.shutil.which = lambda name: None
for start in (systems.gearmand, systems.nats_server):
    try:
        with ExitStack() as stack:
            start(stack, (1,))
    except systems.PeerMissing as missing:
        print(missing)
"""


def run_in_bench(*words: str) -> str:
    """Run Python in the folder of benches, with this tree; return what it says."""
    parts = ("bench", "sched", "workers", "shm", "wire", "clients", "tests")
    tree = [str(ROOT / part) for part in parts]
    ended = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT / "bench",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(tree)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_every_bench_says_what_it_takes() -> None:
    names = [*BENCHES, *MODULES]
    said = run_in_bench("-c", HELPING, *names)
    assert said.count("usage: ") == said.count("--quick  ") == len(names) >= 13


def test_what_redis_costs_is_told_and_used_for_many_hosts_once_it_was_measured() -> None:
    said = run_in_bench("-c", SHARING)
    assert "| redis | 64 | 130 | 30 | 7,000 | 900 / 1,800 | 400 / 800 |" in said
    assert "| layer | 64 | 38 | 40 | 20 | 1.3 | 2 |" in said
    assert "-m hosts.end_to_end --json docs/performance/results/end_to_end.json" in said
    assert "| commands of Redis a second | 200,000 |" in said
    assert "1.3 times the work of a worker for a job (measured)" in said
    assert "2 commands a job of 20 µs each (measured)" in said
    assert "| worker's CPU to coordinate a job at 64, µs | ≤ 25 | 38 | **missed** |" in said


def test_every_job_of_a_trace_ends_however_long_it_waits_and_runs() -> None:
    assert run_in_bench("-c", REPLAYING).strip() == "well"


def test_a_replayed_trace_is_told_by_systems_by_sample_sizes_and_in_real_time() -> None:
    said = run_in_bench("-c", TELLING)
    assert "| nodes | load | jobs | pointsman | random |" in said
    assert "| 1,000 | 0.5 | 20,000 | 12.5 / 0.8 / < 0.01 | 700 / 0.8 / 20 |" in said
    assert "| b_calm | 0.5 | 0.700 / 50 | 0.800 / 50 | 0.700 / 50 |" in said
    assert "| b_calm | one pool | 12.5 | 0.8 | 50 |\n| b_calm | three pools |" in said
    assert "10 nodes, a load of 0.8, 0.2 times" in said
    assert "| b_calm | real-time | 20,000 | 12.5 | 90 | 0.8 | 2 | 0.001 | 1.5 |" in said


def test_tables_show_the_median_of_rounds_and_go_on_below_when_they_are_wide() -> None:
    lines = run_in_bench("-c", PRINTING).splitlines()
    assert lines[3].split() == ["a", "1", "5"]
    assert lines[4].split() == ["b", "8", "12,346", "c"]
    assert max(map(len, lines)) <= 150
    assert sum("wide" in line for line in lines) > 1, "every part says whose row it is"


def test_the_page_of_performance_is_made_of_what_was_measured() -> None:
    filled = run_in_bench("-c", FILLING)
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    tables = filled.split("<!-- end -->")
    written = [table.strip() for table in tables if "\nold\n" not in table and table.strip()]
    assert written, "nothing has been measured"
    missing = [table.splitlines()[0] for table in written if table not in page]
    assert not missing, f"run bench/_pages/performance.py: {missing}"


def test_a_decision_is_timed_from_its_own_beginning() -> None:
    assert run_in_bench("-c", DECIDING).split() == ["well"] * 2


def test_a_peer_that_is_not_installed_is_named_with_what_would_install_it() -> None:
    assert run_in_bench("-c", MISSING).splitlines() == [
        "gearmand is not installed (Debian: apt-get install gearman-job-server)",
        "nats-server is not installed (Debian: apt-get install nats-server)",
    ]


def test_counters_of_the_processor_are_taken_where_there_are_any() -> None:
    said = run_in_bench("-c", COUNTING).splitlines()
    assert said[0] == "{'task-clock': 40.5, 'cycles': 7.0}"
    assert said[-1].endswith("perf is not installed (Debian: apt-get install linux-perf)")


def test_what_is_counted_is_told_also_where_the_processor_counted_nothing() -> None:
    old, new, _ = run_in_bench("-c", COUNTED).split("--\n")
    for said in (old, new):
        assert "| pointsman core |  |  | 168,600 |  |" in said
        assert "A heartbeat of one of 1,000 nodes: 35,800." in said
    assert old.endswith("<!-- table: hardware -->\nold\n<!-- end -->\n")
    assert "| pointsman |  | 64 | 110,000 | 210,000 | 3 |  | 50 |  |  |" in new
    assert "| pointsman | compiled | 64 | 110,000 | 210,000 | 3 |  | 50 | 5 |  |" in new
    assert "takes 3.5 times the floor's instructions, and 5.5 times its cycles" in new
    assert "of either are 0.238 and 0.833 L2 misses." in new


def test_a_return_of_all_nodes_is_told_beside_what_was_promised() -> None:
    said = run_in_bench("-c", RETURNING)
    assert "| 10,000 |  | 70 | 48.5 | 10,000 | 0 | 2,000 | 0 |" in said
    assert "| 10,000 nodes come back to a new manager, s | ≤ 60 | 48.5 | kept |" in said
    assert "| 15,000 nodes come back to a new manager, s | ≤ 60 | inf | **missed** |" in said
    assert "| 15,000 nodes come back to a new manager: false deaths | ≤ 0 | 3 |" in said


def test_a_refusal_costs_what_is_used_beside_jobs_at_the_rate_where_they_cost_least() -> None:
    assert run_in_bench("-c", REFUSING).strip() == "[0.0, 0.0, 0.0, 50.0, 50.0, 50.0, 0.0]"
