"""What travels on lanes: assignments in, results out.

An assignment is refused, or repeated and ignored, or it takes a slot and starts in the same
step; the cumulative acknowledgement that follows says that it was read.  A lone one takes its slot
and starts when its worker has confirmed it (lone_runs.py).
"""

from collections.abc import Callable, Sequence
from typing import Any

from pointsman.node_core.events import (
    EndJob,
    JobEnded,
    Notice,
    PartialMade,
    ProgressMade,
    StartJob,
    StopJob,
    StoreEpoch,
)
from pointsman.node_core.fences import EpochTable, Seen
from pointsman.node_core.job_table import HeldResult, JobKey, JobTable, Refusal, Run
from pointsman.node_core.lane import Lane
from pointsman.node_core.lone_runs import NS_PER_US, LoneRuns
from pointsman_wire.control_messages import Registered
from pointsman_wire.errors import Code
from pointsman_wire.framing import Unreadable
from pointsman_wire.lane_messages import (
    Assign,
    CancelJob,
    JobRefused,
    LaneAccepted,
    LaneGoingAway,
    LanePing,
    LanePong,
    NodePartial,
    NodeProgress,
    NodeResultAck,
    TurnAsk,
    TurnGranted,
)
from pointsman_wire.link import Send
from pointsman_wire.messages import Error, Message, error_info

Absorb = Callable[[int, Lane, Any, bytes], list[object]]
# Told the time: why no job at all may start, or "" when jobs may.
WhyNone = Callable[[int], str]


class LaneWork:
    """Moves jobs between lanes and the job table."""

    def __init__(self, jobs: JobTable, epochs: EpochTable, why_none: WhyNone) -> None:
        self._jobs = jobs
        self._why_none = why_none
        self._epochs = epochs
        self._lone = LoneRuns()
        self._instance_uid = ""
        self._absorb: dict[type, Absorb] = {
            Assign: self._assigned,
            NodeResultAck: self._results_acked,
            LanePing: self._pinged,
            CancelJob: self._cancelled,
            TurnGranted: self._granted,
            LaneAccepted: self._accepted,
            LaneGoingAway: self._going_away,
            Error: self._refused,
            Unreadable: self._unreadable,
        }

    def join(self, registered: Registered) -> list[object]:
        """Work for this service from now on; stop the runs that no worker of it knows."""
        uid = registered.instance_uid
        self._instance_uid = uid
        if not uid:
            return []
        places = {self._epochs.place(uid, shard) for shard in range(registered.worker_count)}
        reason = "the server is another one now"
        out: list[object] = []
        for run in self._jobs.abandon(places):
            if self._lone.is_waiting(run.number):
                self._give_back(0, run)  # abandoned: nobody is told, and no time is noted
            else:
                out.append(StopJob(run.number, reason))
        return out

    def absorb(
        self, now_ns: int, lane: Lane, message: Message | Unreadable, payload: bytes
    ) -> list[object]:
        """Take one frame of a lane."""
        handler = self._absorb.get(type(message))
        if handler is None:
            return _answer(lane, f"{message.__struct_config__.tag} is not for a node's lane")
        if not lane.is_up and type(message) not in (LaneAccepted, Error, Unreadable):
            return _answer(lane, f"{message.__struct_config__.tag} came before lane_accepted")
        return handler(now_ns, lane, message, payload)

    # ---- the lane itself

    def _accepted(self, now_ns: int, lane: Lane, message: LaneAccepted, _: bytes) -> list[object]:
        if not (lane.is_opening() or lane.is_renewing):
            return _answer(lane, "the lane stands already")
        uid, shard, epoch = message.instance_uid, message.shard, message.epoch
        if shard != lane.shard or (self._instance_uid and uid != self._instance_uid):
            return lane.drop(now_ns, f"this is shard {shard} of {uid}, not the one dialled")
        seen = self._epochs.see(uid, shard, epoch)
        if seen is Seen.STALE:
            notice = Notice(f"worker {shard} answers with epoch {epoch}, a newer one was seen")
            return [notice, *lane.drop(now_ns, "a newer epoch of this shard was seen")]
        out: list[object] = [StoreEpoch(uid, shard, epoch)] if seen is Seen.NEW else []
        place = self._epochs.place(uid, shard)
        if lane.is_renewing:
            lane.renewed()
            return out
        for run in self._lone.waiting_at(place):
            if run.fence.epoch != epoch:  # its worker is gone, and it never started
                run.is_abandoned = True
                self._give_back(now_ns, run)
        running, held = self._jobs.report(place)
        self._lone.ask_soon(now_ns, place)
        return out + lane.raise_up(now_ns, (place, epoch), running, held)

    def _refused(self, now_ns: int, lane: Lane, message: Error, _: bytes) -> list[object]:
        error = message.error
        notice = Notice(f"worker {lane.shard} says {error.code}: {error.message}")
        if lane.is_up:
            return [notice]
        if error.retryable:
            return [notice, *lane.drop(now_ns, "refused", error.retry_after_ms)]
        # Dialling again would be refused again, and put off the registration that helps.
        lane.is_refused = True
        return [notice, *lane.end("refused")]

    def _unreadable(self, now_ns: int, lane: Lane, message: Unreadable, _: bytes) -> list[object]:
        answer = _answer(lane, f"{message.name or 'a frame'}: {message.reason}")
        if message.name != "assign":
            return answer
        # Its number is lost: the next report shows the worker that the job does not run.
        return answer + lane.drop(now_ns, "an assignment could not be read")

    def _pinged(self, _now_ns: int, lane: Lane, message: LanePing, _: bytes) -> list[object]:
        assert lane.connection is not None
        return [Send(lane.connection, LanePong(number=message.number, last_read=lane.last_read))]

    def _going_away(self, _: int, lane: Lane, message: LaneGoingAway, __: bytes) -> list[object]:
        lane.going_away(message)
        return [Notice(f"worker {lane.shard} is stopping; its lane is dialled again")]

    # ---- lone runs

    def tick_lone(self, now_ns: int, lanes: Sequence[Lane]) -> list[object]:
        """Ask for lone runs, stop those whose grant is over, end those that do not stop."""
        if not self._lone.runs:
            return []
        out: list[object] = []
        for run in self._lone.take_ungranted(now_ns):
            out += self._stop(now_ns, run, "its worker does not confirm it", lanes)
        ended = self._lone.take_unending(now_ns)
        out += [EndJob(run.number, "it did not stop, and its worker is not heard") for run in ended]
        for run in self._lone.take_due(now_ns):
            lane = _lane_of(run, lanes)
            if lane is not None and lane.connection is not None:
                out.append(Send(lane.connection, _question(now_ns, run)))
        return out

    def next_deadline_ns(self) -> int | None:
        """When tick_lone has something to do, or None."""
        return self._lone.next_ns()

    def _granted(self, now_ns: int, lane: Lane, granted: TurnGranted, _: bytes) -> list[object]:
        run = self._jobs.find((lane.place, granted.job_id, granted.epoch, granted.dispatch))
        begin = self._lone.granted(now_ns, run, granted.asked) if run is not None else None
        if run is None or begin is None:
            return []
        run.started_at_ns = now_ns
        return [begin]

    def _stop(self, now_ns: int, run: Run, reason: str, lanes: Sequence[Lane]) -> list[object]:
        """Ask the handler to stop; what has none yet ends here."""
        if run.is_stopping:
            return []
        run.is_stopping = True
        if not self._lone.is_waiting(run.number):
            return [StopJob(run.number, reason)]
        held = self._give_back(now_ns, run)
        lane = _lane_of(run, lanes)
        return lane.send_result(held) if held and lane else []

    def _give_back(self, now_ns: int, run: Run) -> HeldResult | None:
        """A lone run ends before it has started."""
        self._lone.ended(run.number)
        code = Code.CANCELLED.value
        return self._jobs.end(now_ns, JobEnded(run=run.number, status="failed", code=code))

    # ---- jobs in

    def _assigned(self, now_ns: int, lane: Lane, assign: Assign, payload: bytes) -> list[object]:
        if assign.number <= lane.last_read:
            return []
        if assign.number != lane.last_read + 1:
            words = f"assignment {assign.number} came after {lane.last_read}"
            return _answer(lane, words) + lane.drop(now_ns, words)
        lane.last_read = assign.number
        key = (lane.place, assign.job_id, lane.epoch, assign.dispatch)
        older = self._jobs.supersede(lane.place, assign.job_id)
        seen = self._jobs.see(now_ns, key)
        if seen is Seen.REPEATED:
            return []
        if seen is Seen.STALE:
            words = "a newer dispatch of this job was seen here"
            return self._refuse(lane, key, Refusal(Code.STALE, words))
        out = self._stop(now_ns, older, "the job was dispatched anew", (lane,)) if older else []
        if why := self._why_none(now_ns):
            return out + self._refuse(lane, key, Refusal(Code.NODE_UNAVAILABLE, why))
        if (refusal := self._jobs.room()) is not None:
            return out + self._refuse(lane, key, refusal)
        run = self._jobs.admit(now_ns, key, assign)
        begin = StartJob(run.number, assign, payload)
        if not assign.silence_ms:
            return [*out, begin]
        self._lone.admit(now_ns, run, begin)
        return out

    def _refuse(self, lane: Lane, key: JobKey, refusal: Refusal) -> list[object]:
        assert lane.connection is not None
        _, job_id, epoch, dispatch = key
        refused = JobRefused(
            job_id=job_id,
            epoch=epoch,
            dispatch=dispatch,
            code=refusal.code.value,
            message=refusal.message,
        )
        return [Send(lane.connection, refused)]

    def _cancelled(self, now_ns: int, lane: Lane, cancel: CancelJob, _: bytes) -> list[object]:
        key = (lane.place, cancel.job_id, cancel.epoch, cancel.dispatch)
        run = self._jobs.find(key)
        if run is not None:
            is_running = run.number in self._jobs.running
            return self._stop(now_ns, run, cancel.reason, (lane,)) if is_running else []
        self._jobs.see(now_ns, key)
        if self._jobs.room_for_results():
            return lane.send_result(self._jobs.confirm_unknown(now_ns, key))
        return []

    # ---- results out

    def job_ended(self, now_ns: int, ended: JobEnded, lanes: Sequence[Lane]) -> list[object]:
        """Free the slot, hold the result, and send it where its lane is up."""
        self._lone.ended(ended.run)
        held = self._jobs.end(now_ns, ended)
        lane = _lane_of(held.run, lanes) if held else None
        return lane.send_result(held) if held and lane else []

    def partial_made(self, made: PartialMade, lanes: Sequence[Lane]) -> list[object]:
        """Send a piece of a result if somebody listens; pieces are not held."""
        run = self._jobs.running.get(made.run)
        if run is None or not run.stream:
            return []
        seq = run.partials
        run.partials += 1
        lane = _lane_of(run, lanes)
        if lane is None or lane.connection is None:
            return []
        partial = NodePartial(
            job_id=run.fence.job_id,
            epoch=run.fence.epoch,
            dispatch=run.fence.dispatch,
            seq=seq,
            content_type=made.content_type,
            meta=made.meta,
        )
        return [Send(lane.connection, partial, made.payload)]

    def progress_made(self, made: ProgressMade, lanes: Sequence[Lane]) -> list[object]:
        """Tell the worker that the job is alive."""
        run = self._jobs.running.get(made.run)
        lane = _lane_of(run, lanes) if run else None
        if run is None or lane is None or lane.connection is None:
            return []
        progress = NodeProgress(
            job_id=run.fence.job_id,
            epoch=run.fence.epoch,
            dispatch=run.fence.dispatch,
            percent=made.percent,
            note=made.note,
        )
        return [Send(lane.connection, progress)]

    def _results_acked(
        self, _now_ns: int, lane: Lane, ack: NodeResultAck, _: bytes
    ) -> list[object]:
        for run_number in lane.acknowledged(ack.number, ack.withheld):
            self._jobs.release(run_number)
        return []


def _lane_of(run: Run, lanes: Sequence[Lane]) -> Lane | None:
    """Return the lane of the run's shard while it is up."""
    return next((lane for lane in lanes if lane.is_up and lane.place == run.place), None)


def _question(now_ns: int, run: Run) -> TurnAsk:
    fence = run.fence
    return TurnAsk(
        job_id=fence.job_id,
        epoch=fence.epoch,
        dispatch=fence.dispatch,
        asked=now_ns // NS_PER_US,
    )


def _answer(lane: Lane, words: str) -> list[object]:
    if lane.connection is None:
        return []
    return [Send(lane.connection, Error(error_info(Code.INVALID_MESSAGE, words)))]
