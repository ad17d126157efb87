"""Real traces of requests over time, as instants and service times.

Two forms of CSV are read, plain or gzipped, told apart by their first line:

    TIMESTAMP,ContextTokens,GeneratedTokens            TIMESTAMP as 2023-11-16 18:15:46.680590
    t_s,session,turn,input_tokens,output_tokens        t_s in seconds

A request takes 2 ms and 50 us for each token that was generated; `warp` runs the trace so many
times faster, service times alike.
"""

import csv
import gzip
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

FIXED_S = 0.002
TOKEN_S = 50e-6


class TraceError(ValueError):
    """A file is no trace: which line, and why."""


class Request(NamedTuple):
    """When it comes, from the beginning of the trace, and how long it takes."""

    at_s: float
    service_s: float


def read_trace(path: Path, warp: float) -> list[Request]:
    """Return the requests of a trace in their order.  Raises TraceError, OSError."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        rows = csv.DictReader(file)
        try:
            found = sorted(_requests(rows))
        except (KeyError, ValueError) as error:
            raise TraceError(f"{path}, line {rows.line_num}: {error!r}") from None
    if not found:
        raise TraceError(f"{path} has no requests")
    first_s = found[0].at_s
    return [Request((r.at_s - first_s) / warp, r.service_s / warp) for r in found]


def _requests(rows: "csv.DictReader[str]") -> Iterator[Request]:
    for row in rows:
        if "TIMESTAMP" in row:
            at_s = datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp()
            tokens = int(row["GeneratedTokens"])
        else:
            at_s, tokens = float(row["t_s"]), int(row["output_tokens"])
        yield Request(at_s, FIXED_S + TOKEN_S * tokens)
