"""I2 and I3: one request is one job, and of its attempts only the newest counts."""

from itertools import pairwise

from pointsman.recording.facts import Fact
from pointsman_sim.checker.recording import Attempt, Fence, Job, JobKey, Recording
from pointsman_sim.checker.verdicts import Limits, Verdict

S = 1_000_000_000


def one_request_is_one_job(recording: Recording, limits: Limits) -> Verdict:
    """I2: a request never starts under two job ids while its key is bound.

    A binding lasts for its window after the job's end, and as long as its level survives.
    """
    verdict = Verdict(promise="I2", about="one request never starts under two job ids")
    first: dict[JobKey, dict[str, Attempt]] = {}
    for attempt in recording.attempts:
        if attempt.started_at_ns is not None:
            first.setdefault(attempt.key, {}).setdefault(attempt.job_id, attempt)
    for key, jobs in first.items():
        verdict.judged += 1
        for former, later in pairwise(jobs.values()):
            assert later.started_at_ns is not None
            if not _is_unbound(recording, key, former, later):
                words = f"{'/'.join(key)} started as {former.job_id} and as {later.job_id}"
                verdict.breach(later.started_at_ns, words)
    return verdict


def _is_unbound(recording: Recording, key: JobKey, former: Attempt, later: Attempt) -> bool:
    """May the request have become another job by then?"""
    assert later.started_at_ns is not None
    jobs = [recording.jobs[attempt.job_id] for attempt in (former, later)]
    # What a dead worker had sent may be read after its death: its promise is as old as the submit.
    submit = recording.submits.get(key[1:])
    # An acceptance that nobody lived to hear promised what its client had asked for.
    asked = submit.level if submit else ""
    level = next((job.level for job in jobs if job.level), asked or recording.usual_level())
    since_ns = min(former.read_at_ns, submit.at_ns if submit else former.read_at_ns)
    if recording.is_lost(level, former.fence[1], since_ns, later.started_at_ns):
        return True
    window_ns = int(jobs[0].window_s * S)
    ends = [a.ended_at_ns for a in jobs[0].attempts if a.ended_at_ns is not None]
    return bool(window_ns and ends) and max(ends) + window_ns <= later.started_at_ns


def only_the_newest_attempt_counts(recording: Recording, limits: Limits) -> Verdict:
    """I3: a dispatch starts once, an older epoch never after a newer one, and no result of an
    attempt is taken that was made after a later attempt had been issued.

    An attempt has one dispatch, or two when it is hedged: both may end, the first result counts.
    Attempts that different instances issued cannot be told apart by their fences: of them, that
    one result is taken is judged as the job's end (I11).
    """
    verdict = Verdict(promise="I3", about="only the newest attempt of a job counts")
    _judge_starts(recording, verdict)
    for job in recording.jobs.values():
        for result in job.results:
            if result.status.startswith("completed"):
                verdict.judged += 1
                _judge_result(recording, job, result, verdict)
    return verdict


def _judge_starts(recording: Recording, verdict: Verdict) -> None:
    started: dict[tuple[str, Fence], Attempt] = {}
    epochs: dict[tuple[str, str, int], int] = {}
    for attempt in sorted(recording.attempts, key=lambda a: a.started_at_ns or a.read_at_ns):
        uid, shard, epoch, dispatch = attempt.fence
        place = (attempt.node or attempt.who, uid, shard)
        if attempt.started_at_ns is not None:
            verdict.judged += 1
            twin = started.setdefault((attempt.job_id, attempt.fence), attempt)
            if twin is not attempt:
                words = f"{attempt.job_id}: dispatch {(epoch, dispatch)} started at {twin.who}"
                verdict.breach(attempt.started_at_ns, f"{words} and again at {attempt.who}")
            if epoch < epochs.get(place, 0):
                words = f"{attempt.who} started epoch {epoch} after {epochs[place]} of {shard}"
                verdict.breach(attempt.started_at_ns, words)
        epochs[place] = max(epoch, epochs.get(place, 0))


def _judge_result(recording: Recording, job: Job, result: Fact, verdict: Verdict) -> None:
    made = _attempt_of(job, result)
    if made is None or made.ended_at_ns is None:
        verdict.skip("the node that made the result recorded nothing")
        return
    for later in job.attempts:
        is_later = later.is_later_than(made) and later.read_at_ns < made.ended_at_ns
        is_later = is_later and not _is_hedge(made, later)
        # A worker that lost its memory knows of the later attempt only from its node.
        since_ns = min(later.read_at_ns, made.read_at_ns)
        level = job.level or recording.usual_level()
        if is_later and not recording.is_lost(level, made.fence[1], since_ns, result.at_ns):
            words = (
                f"{job.job_id}: the result of dispatch {made.fence[2:]} by {made.who} was taken, "
                f"made after {later.fence[2:]} had been issued to {later.who}"
            )
            verdict.breach(result.at_ns, words)


def _is_hedge(first: Attempt, second: Attempt) -> bool:
    """Are these two dispatches of one attempt, of which the first result counts?"""
    return first.number == second.number and first.fence[:3] == second.fence[:3]


def _attempt_of(job: Job, result: Fact) -> Attempt | None:
    """Return which attempt made a result: by its fence, or by its number and node."""
    if result.dispatch:
        fence = (result.epoch, result.dispatch)
        found = [a for a in job.attempts if a.fence[2:] == fence]
    else:
        named = [a for a in job.attempts if a.node == result.node or a.who == result.node]
        found = [a for a in named if a.number == result.attempt]
    ended = [a for a in found if a.ended_at_ns is not None]
    return ended[0] if len(ended) == 1 else None
