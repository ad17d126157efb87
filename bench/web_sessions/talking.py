"""What sessions over WebSocket cost: many idle, some that speak, some that read nothing.

    PYTHONPATH=bench:tests .venv/bin/python -m web_sessions.talking [--quick] [--json FILE]

audio         open sessions in two workers, of which one in 25 then speaks, a piece of 100 ms at a
              time, 16 kHz and 16 bits: utterances of two seconds with half a second between
slow readers  sessions that submit by the clock, beside none, or as many that submit larger jobs
              and read their results, or do not
encoding      one message as JSON in a WebSocket, and as msgpack in the binary protocol
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import msgspec
from _shared.crowds import nodes_max
from _shared.processes import Child
from _shared.report import Options, Row, median_row, quantile, report, run
from _shared.service import WatchedService, watched_service
from web_sessions.encodings import encoding_rows
from web_sessions.orders import Deafen, Open, Opened, Speak, Spoken, Submit, Submitted, WebOrder

SESSIONS = 5_000
QUICK_SESSIONS = 300
SESSIONS_PER_SPEAKER = 25
TALK_S = 20.0
QUICK_TALK_S = 5.0
PROCESSES = 2  # of clients
WORKERS = 2
SLOW = 50
SLOW_PER_S = 200.0
SLOW_PAYLOAD_BYTES = 40_000
SLOW_RECEIVE_BYTES = 16_384  # what the kernel reads ahead for them is not the point
OTHERS = 50
OTHERS_PER_S = 100.0
OTHERS_PAYLOAD_BYTES = 200
WORK_S = 6.0
QUICK_WORK_S = 3.0
ROUNDS = 3
SETTLE_S = 1.0
PATIENCE_S = 300.0
MIB = 2**20
CONFIG = "[sessions]\nidle_s = 3600\nsessions_max = 60_000\n"

Answer = TypeVar("Answer")


class Clients:
    """Processes of sessions, each from an address of its own."""

    def __init__(self, stack: ExitStack, address: str, sources: Sequence[int]) -> None:
        self.children = [
            stack.enter_context(Child("web_sessions.crowd", address, f"127.0.1.{source}"))
            for source in sources
        ]
        for child in self.children:
            child.next_line()

    def say(self, *orders: WebOrder) -> None:
        """Give each process its order."""
        for child, order in zip(self.children, orders, strict=True):
            child.say(msgspec.json.encode(order).decode())

    def answers(self, kind: type[Answer]) -> list[Answer]:
        """Wait for every process."""
        lines = [child.next_line(PATIENCE_S) for child in self.children]
        return [msgspec.json.decode(line, type=kind) for line in lines]


def pss_mib(watched: WatchedService) -> float:
    """Return the memory of all workers; what they share with others counts by its share."""
    total_kib = 0
    for name in watched.workers:
        rollup = Path(f"/proc/{watched.pids[name]}/smaps_rollup").read_text(encoding="ascii")
        total_kib += next(
            int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")
        )
    return total_kib / 1_024


def nodes_of(stack: ExitStack, watched: WatchedService) -> None:
    """Start ten nodes that answer at once."""
    stack.enter_context(Child("_load.nodes", watched.address, "10", "256")).next_line()


def ms(samples_ns: Sequence[int], q: float) -> float:
    """Return a quantile in milliseconds."""
    return quantile(sorted(samples_ns), q) / 1e6


# ---- sound


def audio(options: Options) -> Row:
    """Open all, look, then let some speak, and look meanwhile."""
    wanted = QUICK_SESSIONS if options.is_quick else SESSIONS
    limit = WORKERS * nodes_max()
    if limit < wanted:
        print(f"descriptors allow {limit} connections in two workers, not {wanted}")
    sessions = min(wanted, limit)
    speakers = sessions // SESSIONS_PER_SPEAKER
    talk_s = QUICK_TALK_S if options.is_quick else TALK_S
    with ExitStack() as stack:
        watched = stack.enter_context(watched_service(WORKERS, CONFIG))
        nodes_of(stack, watched)
        clients = Clients(stack, watched.address, range(1, PROCESSES + 1))
        time.sleep(SETTLE_S)
        before_mib = pss_mib(watched)
        clients.say(*(Open(count=n, worker_count=WORKERS) for n in _shares(sessions)))
        opened = clients.answers(Opened)
        time.sleep(SETTLE_S)
        idle_mib = pss_mib(watched)
        idle = watched.watch(SETTLE_S)
        clients.say(*(Speak(speakers=n, seconds=talk_s) for n in _shares(speakers)))
        talking = watched.watch(talk_s - SETTLE_S)
        talking_mib = pss_mib(watched)
        spoken = clients.answers(Spoken)
    assert sum(each.count for each in opened) == sessions
    return {
        "system": "pointsman",
        "kind": "audio",
        "sessions": sessions,
        "speakers": speakers,
        "idle_kib_per_session": (idle_mib - before_mib) * 1_024 / sessions,
        "before_pss_mib": before_mib,
        "idle_pss_mib": idle_mib,
        "talking_pss_mib": talking_mib,
        "heard_mib_max": sum(each.heard_bytes_max for each in spoken) / MIB,
        "workers_idle_load": idle.workers_cpu_s() / idle.elapsed_s,
        "workers_load": talking.workers_cpu_s() / talking.elapsed_s,
        **_said(spoken),
    }


def _shares(whole: int) -> list[int]:
    return [whole // PROCESSES + (k < whole % PROCESSES) for k in range(PROCESSES)]


def _said(spoken: Sequence[Spoken]) -> Row:
    event_ns = [each for found in spoken for each in found.event_ns]
    result_ns = [each for found in spoken for each in found.result_ns]
    late_ns = [each for found in spoken for each in found.late_ns]
    utterances = sum(each.utterances for each in spoken)
    return {
        "utterances": utterances,
        "refused": sum(each.refused for each in spoken),
        "unanswered": utterances - len(result_ns) - sum(each.refused for each in spoken),
        "event_p50_ms": ms(event_ns, 0.5),
        "event_p99_ms": ms(event_ns, 0.99),
        "result_p50_ms": ms(result_ns, 0.5),
        "result_p99_ms": ms(result_ns, 0.99),
        "client_late_p99_ms": ms(late_ns, 0.99),
    }


# ---- those who do not read


def beside(others: str, options: Options) -> Row:
    """Let sessions work beside `none`, or beside those who are `reading` or `not reading`."""
    work_s = QUICK_WORK_S if options.is_quick else WORK_S
    order = Submit(per_s=OTHERS_PER_S, seconds=work_s, payload_bytes=OTHERS_PAYLOAD_BYTES)
    slow_order = Submit(per_s=SLOW_PER_S, seconds=work_s, payload_bytes=SLOW_PAYLOAD_BYTES)
    with ExitStack() as stack:
        watched = stack.enter_context(watched_service(WORKERS, CONFIG))
        nodes_of(stack, watched)
        clients = Clients(stack, watched.address, [1])
        clients.say(Open(count=OTHERS, worker_count=WORKERS))
        clients.answers(Opened)
        slow = Clients(stack, watched.address, [] if others == "none" else [2])
        if slow.children:
            open_slow = Open(count=SLOW, worker_count=WORKERS, receive_bytes=SLOW_RECEIVE_BYTES)
            slow.say(open_slow)
            slow.answers(Opened)
        if others == "not reading":
            slow.say(Deafen())
            slow.answers(Opened)
        before = watched.look()
        slow.say(*[slow_order] * len(slow.children))
        clients.say(order)
        [worked] = clients.answers(Submitted)
        span = watched.since(before)
        slowed = slow.answers(Submitted)
        memory_mib = pss_mib(watched)
    return {
        "system": "pointsman",
        "kind": "slow readers",
        "beside": others,
        "slow_sessions": SLOW if slowed else 0,
        "jobs": worked.jobs,
        "refused": worked.refused,
        "slow_jobs": sum(each.jobs for each in slowed),
        "slow_ended": sum(each.ended for each in slowed),
        "result_p50_ms": ms(worked.result_ns, 0.5),
        "result_p99_ms": ms(worked.result_ns, 0.99),
        "workers_load": span.workers_cpu_s() / span.elapsed_s,
        "workers_pss_mib": memory_mib,
    }


def main(options: Options) -> None:
    """Measure all of it, and report."""
    rows = [audio(options)]
    rounds = [
        [beside(others, options) for others in ("none", "reading", "not reading")]
        for _ in range(1 if options.is_quick else ROUNDS)
    ]
    rows += [median_row(found) for found in zip(*rounds, strict=True)]
    rows += encoding_rows(is_quick=options.is_quick)
    report("talking", rows, options)


if __name__ == "__main__":
    run("What sessions over WebSocket cost: idle, speaking, and reading nothing.", main)
