"""I1 and I11: every accepted job ends, in time, once and for good."""

from pointsman_sim.checker.recording import Job, Recording
from pointsman_sim.checker.verdicts import Limits, Verdict

S = 1_000_000_000
# A job that its client gave up itself: it ended, and nobody was there to be told how.
GIVEN_UP = frozenset({"CANCELLED", "SESSION_CLOSED", "CONFLICT"})

# Not how it ended, but that its end is with an instance that is away: to be asked for again.
OUT_OF_REACH = "SCHEDULER_DEPENDENCY_DOWN"


def every_accepted_job_ends(recording: Recording, limits: Limits) -> Verdict:
    """I1: as far as its level survives the faults that struck, and within deadline + T_recover."""
    verdict = Verdict(promise="I1", about="every accepted job ends, in time")
    newest = {key: jobs[-1] for key, jobs in recording.jobs_of_request.items()}
    for job in recording.accepted:
        if job.results:
            verdict.judged += 1
            _judge_deadline(recording, limits, job, verdict)
            continue
        shard = recording.shard_of(job.session)
        if job.is_over:
            verdict.judged += 1
        elif recording.is_lost(job.level, shard, job.asked_at_ns):
            verdict.skip(f"its level {job.level} does not survive what struck its worker")
        elif newest[job.session, job.request] is not job and not job.attempts:
            verdict.skip("it ended before it ran, unheard: its key was free for another job")
        elif not job.attempts and _is_refused_anew(recording, job):
            verdict.skip(
                "it ended before it ran, unheard: its key was free, and who asked again was refused"
            )
        elif _is_given_up(recording, limits, job):
            verdict.skip("its client left before the end")
        elif _is_answered_anew(recording, job):
            verdict.skip("its request was answered by a later job of the same life of its worker")
        elif job.missing is not None:
            verdict.judged += 1
            words = f"{_name(job)} was accepted, and there is no result: {job.missing.status}"
            verdict.breach(job.missing.at_ns, words)
        elif recording.rest_at_ns is None:
            verdict.skip("the history ends before it must have ended")
        else:
            verdict.judged += 1
            verdict.breach(recording.rest_at_ns, f"{_name(job)} was accepted and never ended")
    return verdict


def _name(job: Job) -> str:
    return f"{job.session}/{job.request} ({job.job_id}, {job.level})"


def _is_given_up(recording: Recording, limits: Limits, job: Job) -> bool:
    """Did its client close the session, cancel the job, or die before it was told?

    A client that lives writes down what it gave up.
    """
    if job.missing is not None:
        if job.missing.status == "JOB_TIMEOUT":
            return _is_struck(recording, limits, job)
        return job.missing.status in GIVEN_UP
    assert job.accepted_at_ns is not None
    # A client of a process is called after it, with a number; one that came back asks again.
    names = (job.who, job.who.rpartition("-")[0])
    gone = [s.fact.at_ns for s in recording.strikes if s.fact.node in names]
    if not any(at_ns >= job.accepted_at_ns for at_ns in gone):
        return False
    if max(gone) >= recording.begins.get(job.who, 0):
        return True
    return _heir_of(recording, job) is not None or _is_given_up_anew(recording, job)


def _is_struck(recording: Recording, limits: Limits, job: Job) -> bool:
    """Did a fault, or the recovery from one, overlap the time in which its client waited?"""
    assert job.missing is not None
    recover_ns = int(limits.recover_s * S)
    return any(
        strike.fact.at_ns <= job.missing.at_ns and strike.until_ns + recover_ns >= job.asked_at_ns
        for strike in recording.strikes
    )


def _is_given_up_anew(recording: Recording, job: Job) -> bool:
    """Did its client ask again and give up, or hear the end of what it had given up before?

    The next life of a client does not ask for such a request any more.
    """
    for fact in recording.of("refused", by="client"):
        if (fact.session, fact.request, fact.status) == (job.session, job.request, "JOB_TIMEOUT"):
            return True
    return any(
        (fact.session, fact.request) == (job.session, job.request)
        and fact.status in GIVEN_UP
        and fact.at_ns >= job.asked_at_ns
        for fact in recording.of("missing", by="client")
    )


def _is_refused_anew(recording: Recording, job: Job) -> bool:
    """Did its client ask again, and get a refusal for an answer?"""
    assert job.accepted_at_ns is not None
    since_ns = job.accepted_at_ns
    return any(
        (fact.session, fact.request) == (job.session, job.request) and fact.at_ns > since_ns
        for fact in recording.of("refused", by="client")
    )


def _heir_of(recording: Recording, job: Job) -> Job | None:
    """Return a later job of the same request that was answered."""
    for other in recording.jobs_of_request.get((job.session, job.request), []):
        if other is not job and other.results:
            return other
    return None


def _is_answered_anew(recording: Recording, job: Job) -> bool:
    """Did it end unheard, as a job that waited in vain may, and was asked for again?

    Only its worker forgets it like that: with a death in between it may as well be lost.
    """
    heir = _heir_of(recording, job)
    if heir is None:
        return False
    shard = recording.shard_of(job.session)
    heard_at_ns = heir.accepted_at_ns or heir.results[0].at_ns
    return not recording.is_lost("memory", shard, job.asked_at_ns, heard_at_ns)


def _judge_deadline(recording: Recording, limits: Limits, job: Job, verdict: Verdict) -> None:
    submit = recording.submits.get((job.session, job.request))
    assert job.accepted_at_ns is not None
    if submit is None or not submit.seconds:
        return
    ended_at_ns = job.results[0].at_ns
    due_ns = max(submit.at_ns, job.accepted_at_ns) + int(submit.seconds * S)
    for strike in recording.strikes:
        if strike.fact.at_ns <= ended_at_ns:
            due_ns = max(due_ns, min(strike.until_ns, ended_at_ns))
    late_ns = ended_at_ns - due_ns - int(limits.recover_s * S)
    if late_ns > 0:
        words = f"{_name(job)} ended {late_ns / S:.1f} s after deadline and recovery"
        verdict.breach(ended_at_ns, words)


def ends_are_final(recording: Recording, limits: Limits) -> Verdict:
    """I11: a job that has ended stays as it ended, and a node ends what it started, once."""
    verdict = Verdict(promise="I11", about="a job ends once, and stays as it ended")
    for job in recording.jobs.values():
        ends = [result for result in job.results if result.words != OUT_OF_REACH]
        verdict.judged += bool(ends)
        for later in ends[1:]:
            if later.status == ends[0].status:
                continue
            if recording.is_only_at_node(job.job_id, ends[0].at_ns):
                verdict.skip("its end had no room in the journal, and stayed at its node")
                continue
            shard = recording.shard_of(job.session)
            if not recording.is_lost(job.level, shard, job.asked_at_ns, later.at_ns):
                words = f"{_name(job)} ended {ends[0].status} and then {later.status}"
                verdict.breach(later.at_ns, words)
        _judge_origin(recording, job, verdict)
    for attempt in recording.attempts:
        verdict.judged += 1
        if attempt.ended_at_ns is not None and attempt.started_at_ns is None:
            words = f"{attempt.who} ended {attempt.job_id} {attempt.fence[2:]} without a start"
            verdict.breach(attempt.ended_at_ns, words)
        if attempt.ends > 1:
            assert attempt.ended_at_ns is not None
            words = f"{attempt.who} ended {attempt.job_id} {attempt.fence[2:]} twice"
            verdict.breach(attempt.ended_at_ns, words)
    return verdict


def _judge_origin(recording: Recording, job: Job, verdict: Verdict) -> None:
    """What was completed was made by a node: where nodes record, one of them says so."""
    if not recording.attempts:
        return
    for result in job.results:
        made = [a for a in job.attempts if a.ended_at_ns is not None]
        if result.status.startswith("completed") and not made:
            words = f"{_name(job)} was completed by {result.node}, and no node ended it"
            verdict.breach(result.at_ns, words)
