"""Lone runs: jobs that their session may only run one at a time, and that end in silence.

The worker cannot ask a node that it does not hear whether a job still runs.  So it tells the node
with the assignment after how much silence on the lane to stop it, and waits for longer than that
before it gives the session's next job to somebody else.

A process that stood still, or a machine that slept, has heard nothing either, whatever lies in its
sockets now: its lone runs are stopped, and lone jobs that it finds there are refused.
"""

from pointsman.node_core.job_table import Run

NS_PER_MS = 1_000_000


class LoneRuns:
    """Lone runs at work, and when something was heard of their workers."""

    def __init__(self) -> None:
        self.runs: dict[int, tuple[Run, int]] = {}  # by number, with the silence in ns
        self._heard_at_ns: dict[int, int] = {}  # by place, of the places of runs

    def watch(self, now_ns: int, run: Run, silence_ms: int) -> None:
        """The run ends when its worker is silent for so long."""
        self.runs[run.number] = (run, silence_ms * NS_PER_MS)
        self._heard_at_ns[run.place] = now_ns

    def heard(self, now_ns: int, place: int) -> None:
        """A worker has said something."""
        if place in self._heard_at_ns:
            self._heard_at_ns[place] = now_ns

    def ended(self, number: int) -> None:
        """The run is over, or is being stopped."""
        run, _ = self.runs.pop(number, (None, 0))
        if run is not None and run.place not in {other.place for other, _ in self.runs.values()}:
            del self._heard_at_ns[run.place]

    def take_unheard(self, now_ns: int) -> list[Run]:
        """The runs whose workers have been silent for too long; they are watched no more."""
        return self._take(
            [
                run
                for run, silence_ns in self.runs.values()
                if now_ns - self._heard_at_ns[run.place] >= silence_ns
            ]
        )

    def take_slept(self, late_ns: int) -> list[Run]:
        """The same for those through whose silence this process has slept."""
        return self._take([run for run, silence_ns in self.runs.values() if late_ns >= silence_ns])

    def _take(self, runs: list[Run]) -> list[Run]:
        for run in runs:
            self.ended(run.number)
        return runs

    def next_ns(self) -> int | None:
        """When a run must be stopped if nothing is heard until then."""
        return min(
            (self._heard_at_ns[run.place] + silence_ns for run, silence_ns in self.runs.values()),
            default=None,
        )
