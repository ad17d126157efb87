"""I5: jobs of one session, kind and priority leave in their order; serial ones never overlap."""

from pointsman_sim.checker.recording import Attempt, Job, Recording
from pointsman_sim.checker.verdicts import Limits, Verdict


def sessions_keep_their_order(recording: Recording, limits: Limits) -> Verdict:
    """I5: by acceptances at the client and dispatch numbers at the nodes."""
    verdict = Verdict(promise="I5", about="jobs of a session keep their order")
    queues: dict[tuple[str, str], list[Job]] = {}
    serial: dict[str, list[Job]] = {}
    for job in recording.accepted:
        submit = recording.submits.get((job.session, job.request))
        if job.is_told_late or submit is None or not job.attempts:
            continue
        queues.setdefault((job.session, submit.kind), []).append(job)
        connect = recording.connects.get(job.session)
        if connect is not None and connect.status == "serial":
            serial.setdefault(job.session, []).append(job)
    for jobs in queues.values():
        _judge_queue(recording, jobs, verdict)
    for jobs in serial.values():
        _judge_serial(jobs, verdict)
    return verdict


def _judge_queue(recording: Recording, jobs: list[Job], verdict: Verdict) -> None:
    """The first dispatch of each, in the order of acceptance.

    Where several instances share a fleet, a job may have left the queue in its turn, been
    refused by the home of a node, and left again: neither clients nor nodes see that, so it is
    not judged.
    """
    if recording.instance_count > 1:
        verdict.skip("instances share a fleet, and what one refuses another is not recorded")
        return
    newest: tuple[int, int] = (0, 0)
    for job in jobs:
        first = min(job.attempts, key=lambda attempt: attempt.fence[2:])
        if first.number > 1:
            continue  # nobody who records has seen its first attempt
        verdict.judged += 1
        fence = first.fence[2:]
        if fence < newest and not _is_lost(recording, job):
            words = f"{job.session}/{job.request} left the queue after a job accepted later"
            verdict.breach(first.read_at_ns, f"{words}: {fence} and {newest}")
        newest = max(newest, fence)


def _is_lost(recording: Recording, job: Job) -> bool:
    """Did a worker that forgot the order meet the job between acceptance and dispatch?"""
    return recording.is_lost(job.level, recording.shard_of(job.session), job.asked_at_ns)


def _judge_serial(jobs: list[Job], verdict: Verdict) -> None:
    """The newest attempts of different jobs never run at the same time."""
    spans: list[tuple[int, int, Attempt]] = []
    for job in jobs:
        for attempt in job.attempts:
            if attempt.started_at_ns is not None and attempt.ended_at_ns is not None:
                until_ns = min([attempt.ended_at_ns, *_fenced_at_ns(job, attempt)])
                spans.append((attempt.started_at_ns, until_ns, attempt))
    spans.sort(key=lambda span: span[0])
    until_ns, last = 0, None
    for since_ns, end_ns, attempt in spans:
        verdict.judged += 1
        if last is not None and last.job_id != attempt.job_id and since_ns < until_ns:
            words = f"serial session {attempt.key[1]}: {attempt.job_id} began"
            verdict.breach(since_ns, f"{words} while {last.job_id} ran at {last.who}")
        if end_ns >= until_ns:
            until_ns, last = end_ns, attempt


def _fenced_at_ns(job: Job, attempt: Attempt) -> list[int]:
    """Return when later attempts were seen: from then on this one does not count."""
    return [a.read_at_ns for a in job.attempts if a.is_later_than(attempt)]
