"""Lone runs: jobs that their session may only run one at a time, on a lease of their worker.

The worker cannot ask a node that it does not hear whether a job still runs, and whatever the node
hears may be old: a frame can lie in a broken network for any time.  So the node asks, and only an
answer counts: it proves that the worker still counts on the run at some moment after the asking.

    admitted --- ask ---> asked --- granted ---> at work --- no grant in time ---> being stopped
                            |                    |     ^                             |
                            |                    +-----+ asked and granted again     | END_NS later
                            v                                                        v
                     given back, never started: no grant in time          ended by force

A grant is good for `silence` from when its question *was asked*.  A worker that loses the node
waits for longer than that before it gives the session's next job to somebody else, so a run never
goes on, and above all never starts, when that may have happened.
"""

import msgspec

from pointsman.backoff import NS_PER_MS, NS_PER_S
from pointsman.node_core.events import StartJob
from pointsman.node_core.job_table import Run

NS_PER_US = 1_000
# In the time for which an answer is good it is asked so often: a lost second is no lost lease.
ASKS = 4
# A handler that was told to stop has so long before it is ended by force.
END_NS = NS_PER_S // 2


class LoneRun(msgspec.Struct, eq=False, kw_only=True):
    """One lone run, from its admission until its handler has ended."""

    run: Run
    silence_ns: int
    begin: StartJob | None  # what starts it; None once it has started
    good_until_ns: int  # of the last grant; before the first one, how long it is waited for
    ask_at_ns: int
    end_at_ns: int | None = None  # set once it was stopped for want of a grant


class LoneRuns:
    """The lone runs of a node, by number."""

    def __init__(self) -> None:
        self.runs: dict[int, LoneRun] = {}

    def admit(self, now_ns: int, run: Run, begin: StartJob) -> None:
        """Take a run that may start once its worker grants it; it is to be asked for at once."""
        silence_ns = begin.assign.silence_ms * NS_PER_MS
        self.runs[run.number] = LoneRun(
            run=run,
            silence_ns=silence_ns,
            begin=begin,
            good_until_ns=now_ns + silence_ns,
            ask_at_ns=now_ns,
        )

    def is_waiting(self, number: int) -> bool:
        """Is it admitted and has not started?"""
        lone = self.runs.get(number)
        return lone is not None and lone.begin is not None

    def waiting_at(self, place: int) -> list[Run]:
        """Return the runs of one worker's place that have not started."""
        lone_runs = self.runs.values()
        return [lone.run for lone in lone_runs if lone.begin and lone.run.place == place]

    def ended(self, number: int) -> None:
        """The run is over."""
        self.runs.pop(number, None)

    def take_due(self, now_ns: int) -> list[Run]:
        """Return the runs that are to be asked for now; their next time is set."""
        due = [lone for lone in self.runs.values() if lone.ask_at_ns <= now_ns]
        for lone in due:
            lone.ask_at_ns = now_ns + lone.silence_ns // ASKS
        return [lone.run for lone in due]

    def ask_soon(self, now_ns: int, place: int) -> None:
        """A worker can be asked again."""
        for lone in self.runs.values():
            if lone.run.place == place:
                lone.ask_at_ns = now_ns

    def granted(self, now_ns: int, run: Run, asked_us: int) -> StartJob | None:
        """The worker counts on this run since it was asked; return what is to be started now."""
        lone = self.runs.get(run.number)
        if lone is None or lone.end_at_ns is not None:
            return None
        # Nobody can grant what was not asked yet, whatever the number says.
        good_until_ns = min(asked_us * NS_PER_US, now_ns) + lone.silence_ns
        if good_until_ns <= now_ns:
            return None
        if lone.begin is None:
            lone.good_until_ns = max(lone.good_until_ns, good_until_ns)
            return None
        begin, lone.begin, lone.good_until_ns = lone.begin, None, good_until_ns
        return begin

    def take_ungranted(self, now_ns: int) -> list[Run]:
        """Return the runs whose grant is over: each once."""
        over = []
        for lone in self.runs.values():
            if lone.end_at_ns is None and lone.good_until_ns <= now_ns:
                lone.end_at_ns = lone.good_until_ns + END_NS
                over.append(lone.run)
        return over

    def take_unending(self, now_ns: int) -> list[Run]:
        """Return the runs that did not stop; they are not kept any longer."""
        over = [
            lone.run
            for lone in self.runs.values()
            if lone.end_at_ns is not None and lone.end_at_ns <= now_ns
        ]
        for run in over:
            del self.runs[run.number]
        return over

    def next_ns(self) -> int | None:
        """When something is to be asked, stopped or ended."""
        return min((_next_ns(lone) for lone in self.runs.values()), default=None)


def _next_ns(lone: LoneRun) -> int:
    if lone.end_at_ns is not None:
        return lone.end_at_ns
    return min(lone.ask_at_ns, lone.good_until_ns)
