"""Arrivals from a file of somebody else's service, brought to any load.

A trace gives instants and sizes; nothing else of it is used.  `copies` of it are laid over each
other, each turned by a whole number of minutes (seeded), and time is warped so that the work that
arrives is a wished share of what the fleet can do.
"""

import csv
import gzip
import io
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from random import Random

import msgspec

MINUTE_S = 60.0
# What a job takes on a node of speed 1.
SERVICE_BASE_S = 0.2
SERVICE_PER_TOKEN_S = 0.005
SESSION_JOBS = 4  # of a trace that names no sessions


class Arrival(msgspec.Struct, frozen=True, order=True):
    """One job: when it comes, what it takes on a node of speed 1, and of which session it is."""

    at_s: float
    service_s: float
    session: int


class Replayed(msgspec.Struct, frozen=True):
    """Arrivals in order, and how they were made of the trace."""

    arrivals: list[Arrival]
    warp: float  # the trace's time is this many times as long
    copies: int


class TraceError(Exception):
    """The file is no trace that this can read; the text says what is wrong."""


def read_trace(path: Path) -> list[Arrival]:
    """Read a CSV, gzipped or not, by its columns.  Raises TraceError.

    TIMESTAMP, GeneratedTokens (Azure's traces) or t_s, session, output_tokens.
    """
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
        rows = list(csv.DictReader(io.StringIO(text)))
        arrivals = [_arrival(number, row) for number, row in enumerate(rows)]
    except (OSError, ValueError, KeyError) as error:
        raise TraceError(f"{path} is no trace that can be read: {error!r}") from None
    if len(arrivals) < 2:
        raise TraceError(f"{path} has {len(arrivals)} rows")
    first_s = min(arrival.at_s for arrival in arrivals)
    shifted = [Arrival(a.at_s - first_s, a.service_s, a.session) for a in arrivals]
    return sorted(shifted)


def _arrival(number: int, row: dict[str, str]) -> Arrival:
    if "TIMESTAMP" in row:
        at_s = datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp()
        tokens, session = int(row["GeneratedTokens"]), number // SESSION_JOBS
    else:
        at_s, tokens, session = float(row["t_s"]), int(row["output_tokens"]), int(row["session"])
    return Arrival(at_s, SERVICE_BASE_S + SERVICE_PER_TOKEN_S * tokens, session)


def replay(
    trace: Sequence[Arrival], *, capacity: float, load: float, jobs_wanted: int, jobs_max: int
) -> Replayed:
    """Lay copies over each other until there are about so many jobs, and warp time to the load.

    `capacity` is the seconds of work (at speed 1) that the fleet does in a second.  There are only
    whole copies, at least one; of a trace with more than `jobs_max` arrivals the first so many.
    """
    trace = trace[:jobs_max]
    copies = max(1, min(round(jobs_wanted / len(trace)), jobs_max // len(trace)))
    span_s = trace[-1].at_s + 1.0
    sessions = max(arrival.session for arrival in trace) + 1
    random = Random(copies)
    laid = []
    for copy in range(copies):
        turn_s = MINUTE_S * random.randrange(int(span_s / MINUTE_S) + 1) if copy else 0.0
        laid += [
            Arrival((a.at_s + turn_s) % span_s, a.service_s, a.session + copy * sessions)
            for a in trace
        ]
    work_s = sum(arrival.service_s for arrival in laid)
    warp = span_s * capacity * load / work_s
    warped = [Arrival(a.at_s / warp, a.service_s, a.session) for a in laid]
    return Replayed(sorted(warped), warp, copies)


def at_scale(arrivals: Sequence[Arrival], scale: float) -> list[Arrival]:
    """Let everything come and take so many times as long: the load stays what it was."""
    return [Arrival(a.at_s * scale, a.service_s * scale, a.session) for a in arrivals]
