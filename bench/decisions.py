"""One whole decision of a worker, from the idempotency check to the reservation, at any size.

The real worker core takes submits one by one, as a session's frames; the clock starts when it looks
up the request's key and stops when the slot is reserved.  States of the fleet:

    free        every slot is free
    half        half of all slots are held, unevenly
    saturated   every slot is held: a decision is then finding that out and queueing, and later
                giving the slot that is freed to the job that has waited longest; both are added
    churn       half, and in every tenth turn a node has left or come back: a new snapshot, and
                the first decision after it makes the candidates anew

All figures are CPU time of the thread; each is the median of rounds in which every size and state
had its turn.
"""

import gc
from collections import deque
from collections.abc import Callable
from time import thread_time_ns

from _shared.dispatch import SLOTS, Dispatch
from _shared.report import Options, Row, median_row, quantile, read_options, report

from pointsman_wire.lane_messages import Assign
from pointsman_wire.link import Send

NODE_COUNTS = (10, 100, 1_000, 10_000, 100_000)
STATES = ("free", "half", "saturated", "churn")
DECISIONS = 20_000
QUICK_DECISIONS = 2_000
ROUNDS = 3
WARM_UP = 300
TURNS_PER_CHANGE = 10
QUEUED = 16
THRESHOLD = (10_000, 10, 1_000)  # of the collector, as in a worker once it has started


class Stopwatch:
    """Notes when a decision begins and when it has its slot, where the core passes anyway."""

    def __init__(self, dispatch: Dispatch) -> None:
        self.began_ns = 0
        self.ended_ns = 0
        self.queued_ns: deque[int] = deque(maxlen=QUEUED * 2)
        self.serving_ns = 0
        self._served_ns = 0
        shard = dispatch.core.shard
        self._watch(dispatch.core._jobs, "_new_job", before=self._begin)
        # The core stops its own time before a decision, and after it when the slot is reserved.
        dispatch.stopwatch = self._stop
        self._stop_count = 0
        self._watch(shard.recorder, "note_placed", before=self._give)
        self._watch(shard.waiting, "push", before=self._queue)
        self._watch(dispatch.core._serving, "serve", before=self._serve)

    @staticmethod
    def _watch(thing: object, name: str, *, before: Callable[[], None]) -> None:
        original = getattr(thing, name)

        def watched(*arguments: object) -> object:
            before()
            return original(*arguments)

        setattr(thing, name, watched)

    def take(self) -> int:
        """Return what the decision since the last look took."""
        began_ns, self.began_ns = self.began_ns, 0
        assert 0 < began_ns < self.ended_ns, "the core does not pass where decisions begin"
        return self.ended_ns - began_ns

    def _begin(self) -> None:
        self.began_ns = thread_time_ns()

    def _stop(self) -> int:
        self._stop_count += 1
        if self._stop_count % 2 == 0:
            self.ended_ns = thread_time_ns()
        return 0

    def _give(self) -> None:
        self.serving_ns = thread_time_ns() - self._served_ns

    def _queue(self) -> None:
        self.queued_ns.append(thread_time_ns() - self.began_ns)

    def _serve(self) -> None:
        self._served_ns = thread_time_ns()


def assignment(sent: list[Send]) -> Send:
    """The assignment among what the worker sent."""
    (found,) = [command for command in sent if type(command.message) is Assign]
    return found


def place(dispatch: Dispatch, watch: Stopwatch) -> int:
    """One job is submitted, placed at once, and ended; returns what the decision took."""
    sent = dispatch.submit()
    took_ns = watch.take()
    dispatch.end(assignment(sent))
    return took_ns


def wait_and_place(dispatch: Dispatch, watch: Stopwatch, running: deque[Send]) -> int:
    """One job is submitted and queued; one ends, and its slot goes to who waited longest."""
    dispatch.submit()
    running.append(assignment(dispatch.end(running.popleft())))
    return watch.queued_ns.popleft() + watch.serving_ns


def hold_half(dispatch: Dispatch) -> None:
    """Let another worker hold half of all slots, unevenly."""
    for row in range(dispatch.node_count):
        held = dispatch.random.choice((0, 1, 2, 2, 3, 4))
        dispatch.ledger.cells[row * dispatch.ledger.stride + 1] = held


def hold_all(dispatch: Dispatch) -> deque[Send]:
    """Take every slot: most by another worker, one of a few nodes by jobs of ours."""
    for row in range(dispatch.node_count):
        dispatch.ledger.cells[row * dispatch.ledger.stride + 1] = SLOTS
    running: deque[Send] = deque(maxlen=QUEUED)
    for row in range(0, min(dispatch.node_count, 10 * QUEUED), 10):
        dispatch.ledger.cells[row * dispatch.ledger.stride + 1] = SLOTS - 1
    while len(running) < min(QUEUED, (dispatch.node_count + 9) // 10):
        sent = dispatch.submit()
        running.extend(command for command in sent if type(command.message) is Assign)
        if not running:
            dispatch.step()
    return running


def measure(dispatch: Dispatch, state: str, decision_count: int) -> Row:
    """Put the fleet into a state, decide, and say what it took."""
    watch = Stopwatch(dispatch)
    running: deque[Send] = deque(maxlen=QUEUED)
    if state in ("half", "churn"):
        hold_half(dispatch)
    elif state == "saturated":
        running = hold_all(dispatch)
        for _ in range(QUEUED):
            dispatch.submit()
    took_ns = []
    for count in range(WARM_UP + decision_count):
        if state == "churn" and count % TURNS_PER_CHANGE == 0:
            dispatch.change_a_node()
        if state == "saturated":
            took_ns.append(wait_and_place(dispatch, watch, running))
        else:
            took_ns.append(place(dispatch, watch))
    took_ns = sorted(took_ns[WARM_UP:])
    return {
        "nodes": dispatch.node_count,
        "state": state,
        "decisions": decision_count,
        "p50_us": quantile(took_ns, 0.5) / 1e3,
        "p99_us": quantile(took_ns, 0.99) / 1e3,
        "p99_9_us": quantile(took_ns, 0.999) / 1e3,
    }


def measure_anew(node_count: int, state: str, decision_count: int) -> Row:
    """Build a fleet and measure it, with the collector as a worker has it."""
    dispatch = Dispatch(node_count)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLD)
    row = measure(dispatch, state, decision_count)
    gc.unfreeze()
    return row


def main(options: Options) -> None:
    """Measure every size in every state, and report."""
    decision_count = QUICK_DECISIONS if options.is_quick else DECISIONS
    round_count = 1 if options.is_quick else ROUNDS
    found: dict[tuple[int, str], list[Row]] = {}
    for _ in range(round_count):
        for node_count in NODE_COUNTS:
            for state in STATES:
                row = measure_anew(node_count, state, decision_count)
                found.setdefault((node_count, state), []).append(row)
    rows = [{**median_row(rounds), "rounds": round_count} for rounds in found.values()]
    print("from the idempotency check to the reservation; all figures are CPU time")
    report("decisions", rows, options)


if __name__ == "__main__":
    main(read_options("CPU time of one decision at 10 to 100,000 nodes."))
