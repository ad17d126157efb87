"""What coordination costs a job: Redis' CPU, ours, and commands; beside redis-benchmark.

    PYTHONPATH=bench:tests .venv/bin/python -m hosts.coordination [--quick] [--json FILE]

Jobs are bound, so many in one pipeline, and then ended, by the worker's own layer over one
connection.  redis-benchmark asks the same script for as many new keys at the same pipelining, and
does nothing besides; CPU is what Redis (INFO) and this process have used, so that a busy machine
matters little.
"""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time_ns

from _shared.report import Options, Row, median_row, report, run
from coordination.asking import ALICE, AskedRedis, bind, opened, settings_for
from redis_yard.programs import NONE_FOUND, redis_program
from redis_yard.rights import PASSWORD, USER, acl_line
from redis_yard.server import RedisServer, running

from pointsman_wire.coordination.backing import RedisBacking
from pointsman_wire.coordination.keys import BUCKET_COUNT, Keys, bucket_of
from pointsman_wire.coordination.requests import Bind, End, Request, RequestKey
from pointsman_wire.coordination.scripting.call import Site
from pointsman_wire.coordination.scripting.calls import encode
from pointsman_wire.coordination.scripting.files import SCRIPT_FILES
from pointsman_wire.coordination.settings import RedisSettings
from pointsman_wire.coordination.terms import Terms

IN_FLIGHT = (1, 8, 64)
JOBS = 30_000
QUICK_JOBS = 4_000
ROUNDS = 3
RANDOM = "__rand_int__"  # redis-benchmark puts a number of 12 digits here


class Meter:
    """What Redis and this process have used since it was made."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        assert server.command("CONFIG", "RESETSTAT") == b"OK"
        self._redis_s = redis_used_s(server)
        self._own_ns = process_time_ns()

    def redis_us(self) -> float:
        """CPU of Redis in microseconds."""
        return (redis_used_s(self._server) - self._redis_s) * 1e6

    def own_us(self) -> float:
        """CPU of this process in microseconds."""
        return (process_time_ns() - self._own_ns) / 1e3

    def commands(self) -> int:
        """Scripts that were asked for."""
        words = _info(self._server, "commandstats").get("cmdstat_evalsha", "calls=0")
        return int(words.split("calls=")[1].split(",")[0])


def redis_used_s(server: RedisServer) -> float:
    """Return the CPU seconds, user and system, that Redis has used since it started."""
    words = _info(server, "cpu")
    return float(words["used_cpu_user"]) + float(words["used_cpu_sys"])


def _info(server: RedisServer, section: str) -> dict[str, str]:
    lines = server.command("INFO", section).decode().splitlines()
    return {name: words for name, _, words in (line.partition(":") for line in lines)}


def key_of(number: int) -> RequestKey:
    """Every job has a key of its own; they fall into all buckets."""
    return RequestKey("acme", f"s-{number % 1000}", f"r-{number}")


async def spend(backing: RedisBacking, requests: Sequence[Request], in_flight: int) -> None:
    """Ask, so many in one pipeline."""
    for at in range(0, len(requests), in_flight):
        await backing.execute(requests[at : at + in_flight])


async def layer(server: RedisServer, in_flight: int, jobs: int) -> Row:
    """Bind and end jobs by the layer of the worker."""
    backing = await _opened(server)
    binds = [bind(key=key_of(n), job_id=f"{n:032x}") for n in range(jobs)]
    ends = [
        End(number=n, key=key_of(n), owner=ALICE, fence=1, ok=True, keep_s=60.0)
        for n in range(jobs)
    ]
    meter = Meter(server)
    await spend(backing, binds, in_flight)
    bound_us = meter.redis_us()
    await spend(backing, ends, in_flight)
    row: Row = {
        "kind": "layer",
        "in_flight": in_flight,
        "worker_us": meter.own_us() / jobs,
        "redis_us": meter.redis_us() / jobs,
        "redis_bind_us": bound_us / jobs,
        "commands": meter.commands() / jobs,
    }
    await backing.close()
    return row


async def _opened(server: RedisServer) -> RedisBacking:
    assert server.command("FLUSHALL") == b"OK"
    backing = RedisBacking(settings_for(server))
    await backing.open()
    for bucket in range(BUCKET_COUNT):
        await opened(AskedRedis(server, backing), bucket, ALICE)
    return backing


async def floor(server: RedisServer, in_flight: int, jobs: int) -> Row:
    """Have redis-benchmark ask the script of a Bind for new keys."""
    backing = await _opened(server)
    words = bind_words(backing.settings, backing.servers()[0].reign)
    meter = Meter(server)
    given = ["-s", str(server.socket), "--user", USER, "-a", PASSWORD, "-q"]
    count = ["-c", "1", "-P", str(in_flight), "-n", str(jobs), "-r", "1000000000000"]
    done = await asyncio.to_thread(
        subprocess.run,
        ["redis-benchmark", *given, *count, *words],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "rror" not in done.stdout, done.stdout
    row: Row = {
        "kind": "redis-benchmark",
        "in_flight": in_flight,
        "redis_bind_us": meter.redis_us() / jobs,
        "commands": meter.commands() / jobs,
    }
    await backing.close()
    return row


def bind_words(settings: RedisSettings, reign: str) -> list[str]:
    """The command of a Bind, with a random number in the name of its job."""
    request: Bind = bind(key=key_of(0), job_id=f"{0:032x}")
    terms = Terms(int(settings.binding_lease_s * 1000), settings.inbox_max)
    site = Site(Keys(settings.prefix), terms, reign)
    call = encode(request, site)
    tag = f"{{b{bucket_of(request.key):02d}}}"
    names = [name if ":job:" not in name else f"{name[:-12]}{RANDOM}" for name in call.keys]
    assert any(RANDOM in name and tag in name for name in names), call.keys
    sha = SCRIPT_FILES[call.script].sha.decode()
    return ["EVALSHA", sha, str(len(names)), *names, *(_text(value) for value in call.values)]


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def main(options: Options) -> None:
    """Measure; rounds of both take turns."""
    program = redis_program()
    if program is None:
        sys.exit(NONE_FOUND)
    jobs = QUICK_JOBS if options.is_quick else JOBS
    rows: list[Row] = []
    with (
        TemporaryDirectory(prefix="pmb-") as folder,
        running(program, Path(folder), [acl_line()]) as server,
    ):
        for in_flight in IN_FLIGHT:
            made = [
                (
                    asyncio.run(layer(server, in_flight, jobs)),
                    asyncio.run(floor(server, in_flight, jobs)),
                )
                for _ in range(1 if options.is_quick else ROUNDS)
            ]
            own, bare = (median_row(rows_of) for rows_of in zip(*made, strict=True))
            ratio = float(own["redis_bind_us"]) / float(bare["redis_bind_us"])
            rows += [{**own, "bind_ratio": ratio}, bare]
    report("coordination", rows, options)


if __name__ == "__main__":
    run(__doc__.splitlines()[0], main)
