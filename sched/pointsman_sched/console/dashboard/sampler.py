"""One sampler for all viewers: it looks once a second while somebody watches, else every 5 s.

Looking and making rows of it is done once, however many watch; what each lacks is the picture's
affair.  Without viewers only the history of the load is continued, so that it is there when
somebody comes; rows are made when that happens.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic_ns

import msgspec

from pointsman_sched.console.dashboard import tables
from pointsman_sched.console.dashboard.eye import FleetEye, Look
from pointsman_sched.console.dashboard.flow import Flow
from pointsman_sched.console.dashboard.picture import Frame, Picture
from pointsman_sched.console.observing.health import Verdict
from pointsman_shm.rules.coverage import Stock

LOOK_NS = 1_000_000_000
REST_NS = 5_000_000_000  # between looks without viewers, points of the history, and coverage
POINTS_MAX = 72  # six minutes
BEAT_S = 5.0  # who has heard nothing for so long is told that nothing is new
ALL_REASONS = 5


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What never changes while the console lives."""

    instance: str
    version: str
    worker_count: int


class Sampler:
    """Fills a picture; begins to look when it is made, inside a running loop."""

    def __init__(self, eye: FleetEye, about: About, verdict: Callable[[], Verdict]) -> None:
        self.picture = Picture()
        self.viewer_count = 0
        self.is_closed = False
        self._eye = eye
        self._about = about
        self._verdict = verdict
        self._flow = Flow()
        self._points: deque[int] = deque(maxlen=POINTS_MAX + 1)
        self._stocks: list[Stock] | None = None
        self._shown_at_ns = self._rested_at_ns = 0  # when rows, and a point, were made last
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_soon(self._look_again)

    def close(self) -> None:
        """Look no more, and let viewers go."""
        self.is_closed = True
        self._timer.cancel()
        self._news.set()

    def enter(self) -> None:
        """Somebody begins to watch: what is shown is of now."""
        self.viewer_count += 1
        if self.viewer_count == 1:
            self._timer.cancel()
            rest_ns = LOOK_NS - (monotonic_ns() - self._shown_at_ns)
            if rest_ns > 0:
                self._timer = self._loop.call_later(rest_ns / 1e9, self._look_again)
            else:
                self._look_again()

    def leave(self) -> None:
        """Somebody watches no more."""
        self.viewer_count -= 1

    async def after(self, number: int, begun: int) -> Frame:
        """Return what follows `number`, at once or when there is something; see BEAT_S."""
        if self.picture.number <= number and not self.is_closed:
            try:
                async with asyncio.timeout(BEAT_S):
                    await self._news.wait()
            except TimeoutError:
                pass  # nothing is new, which is news to whoever wonders whether we are there
        return self.picture.after(number, begun)

    def _look_again(self) -> None:
        delay_ns = LOOK_NS if self.viewer_count else REST_NS
        self._timer = self._loop.call_later(delay_ns / 1e9, self._look_again)
        look = self._eye.look(monotonic_ns(), has_nodes=self.viewer_count > 0)
        if self.viewer_count:
            self.take_in(look)
        else:
            self._rested_at_ns = look.now_ns
            self._tell_load(look)
        news, self._news = self._news, asyncio.Event()
        news.set()

    def take_in(self, look: Look) -> None:
        """Make rows of what was seen."""
        picture, now_ns = self.picture, look.now_ns
        self._shown_at_ns = now_ns
        picture.put("now", "second", tables.second_of(now_ns))
        self._tell_service(look)
        picture.set_table("class", tables.class_rows(look))
        picture.set_table("node", tables.node_rows(look.nodes))
        picture.set_table("load", tables.load_rows(look.nodes, now_ns))
        picture.set_table("pool", tables.pool_rows(look))
        picture.set_table("worker", tables.worker_rows(look.workers, look.waiting, now_ns))
        if now_ns - self._rested_at_ns >= REST_NS - LOOK_NS // 2:
            self._rested_at_ns = now_ns
            self._tell_load(look)
            self._tell_coverage(look)

    def _tell_service(self, look: Look) -> None:
        verdict, about = self._verdict(), self._about
        self.picture.put(
            "now",
            "service",
            {
                "instance": about.instance,
                "version": about.version,
                "workers": about.worker_count,
                "ready": verdict.is_ready,
                "reasons": verdict.reasons[:ALL_REASONS],
            },
        )
        states, slots, held = tables.fleet_sums(look.places)
        self.picture.put("now", "fleet", {"states": states, "slots": slots, "held": held})

    def _tell_load(self, look: Look) -> None:
        """One more point of the history: [held, slots, waiting, done and refused a second, p95]."""
        rates = self._flow.rates(look.now_ns, look.workers)
        states, slots, held = tables.fleet_sums(look.places)
        waiting = sum(view.gauges["queue_length"] for view in look.workers.values())
        second = tables.second_of(look.now_ns)
        point = [held, slots, waiting, rates.done, rates.refused, rates.p95_us]
        self.picture.put("point", second, [*point, states.get("ready", 0)])
        self._points.append(second)
        if len(self._points) > POINTS_MAX:
            self.picture.drop("point", self._points.popleft())

    def _tell_coverage(self, look: Look) -> None:
        stocks = tables.stocks_of(look)
        if stocks == self._stocks:
            return
        self._stocks = stocks
        pairs, services, is_cut = tables.pair_rows(stocks, look.snapshot)
        self.picture.put("now", "coverage", {"services": services, "truncated": is_cut})
        self.picture.set_table("pair", pairs)
        self.picture.set_table("service", tables.service_rows(stocks))
