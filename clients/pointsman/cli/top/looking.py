"""One look at a service: everything that the live view shows, asked at once; data only.

With the manager gone the nodes are those of a worker's snapshot, and there are no pools to name;
what nobody answers is left out, and `faults` says who was silent.
"""

import asyncio
from time import monotonic_ns
from typing import NamedTuple

from pointsman.cli.fleet.asking import (
    Fleet,
    Heard,
    NobodyAnswers,
    Service,
    ask_each,
    ask_fleet,
    no_answer,
    of_kind,
    processes_in,
)
from pointsman.cli.screen import complete, fields
from pointsman.cli.top.flow import SECOND_NS, Rates, rates_between, sum_of
from pointsman.cli.work.asking import Waiting, Why, ask_pools, ask_waiting, ask_why
from pointsman_wire.admin_messages import Status, StatusQuery
from pointsman_wire.queries.fleet_messages import Pools

MINUTES = 5
QUEUES_MAX = 100


class Beats(NamedTuple):
    """What the processes said of themselves, and when; faults: who said nothing."""

    at_ns: int
    statuses: dict[str, Status]
    faults: list[Heard]


class Look(NamedTuple):
    """The service at one moment; rates are those since the look before, over `elapsed_ns`."""

    instance: str
    beats: Beats
    fleet: Fleet
    pools: Pools | None
    waiting: Waiting
    why: Why
    rates: dict[str, Rates]
    elapsed_ns: int

    @property
    def workers(self) -> dict[str, Status]:
        """Return the workers that answered."""
        return {p: s for p, s in self.beats.statuses.items() if p.startswith("worker-")}


async def ask_beats(service: Service) -> Beats:
    """Ask every process how it is.  Raises NobodyAnswers."""
    heard = await ask_each(service.runtime_dir, service.processes, StatusQuery())
    statuses = of_kind(heard, Status)
    faults = [one for one in heard if one.process not in statuses]
    if not statuses:
        raise NobodyAnswers(faults)
    return Beats(monotonic_ns(), statuses, faults)


async def look_at(service: Service, before: Beats, *, nodes_max: int) -> Look:
    """Ask for all of it; processes that came since are asked too.  Raises NobodyAnswers."""
    now = service._replace(processes=processes_in(service.runtime_dir))
    beats, fleet, pools, waiting, why = await asyncio.gather(
        ask_beats(now),
        ask_fleet(now, lines_max=nodes_max),
        ask_pools(now),
        ask_waiting(now, lines_max=QUEUES_MAX),
        ask_why(now, minutes=MINUTES),
    )
    elapsed_ns = beats.at_ns - before.at_ns
    rates = {
        process: rates_between(before.statuses.get(process), status, elapsed_ns)
        for process, status in beats.statuses.items()
        if process.startswith("worker-")
    }
    found = pools if isinstance(pools, Pools) else None
    return Look(now.instance, beats, fleet, found, waiting, why, rates, elapsed_ns)


def as_data(look: Look) -> dict[str, object]:
    """Return all of a look, for JSON."""
    page = look.fleet.page
    return {
        "instance": look.instance,
        "manager_alive": look.fleet.has_manager,
        "over_s": round(look.elapsed_ns / SECOND_NS, 3),
        "rates": complete(sum_of(look.rates)),
        "workers": {
            process: {
                "pid": status.pid,
                "uptime_s": status.uptime_s,
                "rates": complete(look.rates[process]),
                "gauges": status.gauges,
                "timings_us": status.timings_us,
            }
            for process, status in look.workers.items()
        },
        "nodes": {
            "answered_by": look.fleet.answered_by,
            "total": max(page.total, len(look.fleet.nodes)),
            "nodes": complete(look.fleet.nodes),
        },
        "pools": complete(look.pools.pools) if look.pools else None,
        "waiting": {
            "jobs": look.waiting.waiting,
            "bytes": look.waiting.waiting_bytes,
            "queues": _with_workers(look),
        },
        "reasons": {"minutes": MINUTES, **_fields(look.why)},
        **no_answer(look.beats.faults),
    }


def _with_workers(look: Look) -> list[dict[str, object]]:
    return [{"worker": worker, **fields(line)} for worker, line in look.waiting.lines]


def _fields(why: Why) -> dict[str, object]:
    return {
        "reasons": complete(why.lines),
        "refused": why.refused,
        "waited": why.waited,
        "best_change": why.best_change,
        "best_change_jobs": why.best_change_jobs,
    }
