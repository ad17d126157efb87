"""What travels on lanes: assignments in, results out.

An assignment is refused, or repeated and ignored, or it takes a slot and starts in the same
step; the cumulative acknowledgement that follows says that it was read.
"""

from collections.abc import Callable, Sequence
from typing import Any

from pointsman.node_core.events import (
    JobEnded,
    Notice,
    PartialMade,
    ProgressMade,
    StartJob,
    StopJob,
    StoreEpoch,
)
from pointsman.node_core.fences import EpochTable, Seen
from pointsman.node_core.job_table import JobKey, JobTable, Refusal, Run
from pointsman.node_core.lane import Lane
from pointsman.node_core.lone_runs import NS_PER_MS, LoneRuns
from pointsman_wire.control_messages import Registered
from pointsman_wire.errors import Code
from pointsman_wire.framing import Unreadable
from pointsman_wire.lane_messages import (
    Assign,
    CancelJob,
    JobRefused,
    LaneAccepted,
    LanePing,
    LanePong,
    NodePartial,
    NodeProgress,
    NodeResultAck,
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
        self._slept_ns = 0  # for how long this process had not run before this step
        self._instance_uid = ""
        self._absorb: dict[type, Absorb] = {
            Assign: self._assigned,
            NodeResultAck: self._results_acked,
            LanePing: self._pinged,
            CancelJob: self._cancelled,
            LaneAccepted: self._accepted,
            Error: self._refused,
            Unreadable: self._unreadable,
        }

    def join(self, registered: Registered) -> list[Run]:
        """Work for this service from now on; return the runs that no worker of it knows."""
        uid = registered.instance_uid
        self._instance_uid = uid
        if not uid:
            return []
        places = {self._epochs.place(uid, shard) for shard in range(registered.worker_count)}
        return self._jobs.abandon(places)

    def absorb(
        self, now_ns: int, lane: Lane, message: Message | Unreadable, payload: bytes
    ) -> list[object]:
        """Take one frame of a lane."""
        handler = self._absorb.get(type(message))
        if handler is None:
            return _answer(lane, f"{message.__struct_config__.tag} is not for a node's lane")
        if not lane.is_up and type(message) not in (LaneAccepted, Error, Unreadable):
            return _answer(lane, f"{message.__struct_config__.tag} came before lane_accepted")
        out = handler(now_ns, lane, message, payload)
        if self._lone.runs and lane.is_up:
            self._lone.heard(now_ns, lane.place)
        return out

    # ---- the lane itself

    def _accepted(self, now_ns: int, lane: Lane, message: LaneAccepted, _: bytes) -> list[object]:
        if not lane.is_opening():
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
        running, held = self._jobs.report(place)
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

    # ---- silence

    def slept(self, late_ns: int) -> list[object]:
        """This process did not run for so long: lone jobs may have been given up since."""
        self._slept_ns = max(self._slept_ns, late_ns)
        runs = self._lone.take_slept(late_ns)
        return [command for run in runs for command in _stop(run, "the node stood still")]

    def stop_unheard(self, now_ns: int) -> list[object]:
        """Stop lone jobs whose worker is silent; the last act of a step."""
        self._slept_ns = 0
        if not self._lone.runs:
            return []
        runs = self._lone.take_unheard(now_ns)
        return [command for run in runs for command in _stop(run, "its worker is not heard")]

    def next_deadline_ns(self) -> int | None:
        """When stop_unheard has something to do, or None."""
        return self._lone.next_ns()

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
        out = _stop(older, "the job was dispatched anew") if older else []
        if why := self._why_none(now_ns):
            return out + self._refuse(lane, key, Refusal(Code.NODE_UNAVAILABLE, why))
        if (refusal := self._jobs.room()) is not None:
            return out + self._refuse(lane, key, refusal)
        if assign.silence_ms and self._slept_ns >= assign.silence_ms * NS_PER_MS:
            words = "the node stood still for too long to know that this job is still wanted"
            return out + self._refuse(lane, key, Refusal(Code.NODE_UNAVAILABLE, words))
        run = self._jobs.admit(now_ns, key, assign)
        if assign.silence_ms:
            self._lone.watch(now_ns, run, assign.silence_ms)
        return [*out, StartJob(run.number, assign, payload)]

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
            return _stop(run, cancel.reason) if run.number in self._jobs.running else []
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


def _stop(run: Run, reason: str) -> list[object]:
    if run.is_stopping:
        return []
    run.is_stopping = True
    return [StopJob(run.number, reason)]


def _answer(lane: Lane, words: str) -> list[object]:
    if lane.connection is None:
        return []
    return [Send(lane.connection, Error(error_info(Code.INVALID_MESSAGE, words)))]
