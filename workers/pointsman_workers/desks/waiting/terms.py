"""Terms: what holds for a request in its session, found once for all that wish for the same.

Who submits mostly wishes for the same as the last time.  So what a request comes to (its kind, how
durably its job is held, for how long an attempt may last) and whether it is taken at all is kept
with the session, beside what was wished, until something changes that it was made of.  Whoever
changes such a thing says so: `Kinds.read_anew` for what concerns all sessions (configuration,
tenants, an operator's orders, overload, the end), `session.terms = None` for what concerns one.

What each job has to be asked for by itself is the caller's: room in the journal, and where the
terms are not plain, the order of its session, rates and counts of its tenant.
"""

from typing import Final

from msgspec.structs import astuple, replace

from pointsman_shm.rules.modules import UnknownName
from pointsman_wire.errors import Code
from pointsman_wire.messages import ErrorInfo, error_info
from pointsman_wire.session_messages import Submit
from pointsman_workers.core.shard import SECOND_NS, Shard
from pointsman_workers.core.state import Session
from pointsman_workers.desks.placing import PlacingDesk
from pointsman_workers.desks.waiting.assignments import usual_assignment
from pointsman_workers.desks.waiting.overload import OverloadDesk
from pointsman_workers.journal.book import MEMORY, REDIS
from pointsman_workers.operating.closing import closed_to_jobs
from pointsman_workers.placement.kinds import PRIORITIES, PRIORITY_RANK, Terms

_FIELDS = Submit.__struct_fields__
# Where a request, as a tuple, says what is wished for; before it stands which one it is, after it
# what is passed on with it.
WISH: Final = slice(_FIELDS.index("src_lang"), _FIELDS.index("utterance_index"))


class TermsDesk:
    """Finds the terms of requests."""

    def __init__(self, shard: Shard, placing: PlacingDesk, overload: OverloadDesk) -> None:
        self._shard = shard
        self._placing = placing
        self._overload = overload
        # What an acceptance promises when the request does not say.
        self.durability = shard.config.journal.durability if shard.journal.is_there else MEMORY

    def find(self, session: Session, submit: Submit) -> Terms | ErrorInfo:
        """Return the terms of a request, and keep them; or what makes it impossible."""
        shard = self._shard
        if (closed := closed_to_jobs(shard)) is not None:
            return closed
        if session.is_closing:
            return error_info(Code.SESSION_CLOSED, "the session is being closed")
        reading = shard.kinds.reading  # what follows may begin another
        kind = shard.kinds.find(submit, session)
        if isinstance(kind, UnknownName):
            return error_info(Code.UNSUPPORTED_FEATURE, kind.hint)
        durability = submit.durability or self.durability
        if (error := self._not_offered(durability)) is not None:
            return error
        wished, timeout_ns = submit.labels_preferred, self._placing.timeout_of(submit)
        rank = max(PRIORITY_RANK[submit.priority], shard.tenants.rules(session.tenant).rank_min)
        terms = session.terms = Terms(
            wish=astuple(submit)[WISH],
            reading=reading,
            kind=kind,
            favoured=shard.kinds.favoured(kind, wished) if wished else (),
            durability=durability,
            timeout_ns=timeout_ns,
            is_plain=self._is_plain(session, submit),
            is_choosy=bool(
                submit.preferred_node or session.paired_node or submit.exclude or wished
            ),
            usual=usual_assignment(
                session,
                kind,
                priority=PRIORITIES[rank],
                timeout_ns=timeout_ns,
                silence_ms=0 if session.line is None else self._placing.silence_ms,
            ),
        )
        return terms

    def _is_plain(self, session: Session, submit: Submit) -> bool:
        rules = self._shard.tenants.rules(session.tenant)
        return (
            session.order == "free"
            and not session.paired_node
            and not (rules.has_limits or self._overload.step)
            and PRIORITY_RANK[submit.priority] >= rules.rank_min
        )

    def _not_offered(self, durability: str) -> ErrorInfo | None:
        """What hinders holding a job as durably as that, however much room there is."""
        shard = self._shard
        is_lonely = durability == REDIS and shard.setup.sharing is None
        if not is_lonely and (durability == MEMORY or shard.journal.is_there):
            return None
        text = (
            f"durability {durability!r} is not offered by this server; leave it out, which gives "
            f"{self.durability!r} here, or ask for that"
        )
        return error_info(Code.UNSUPPORTED_FEATURE, text)


def with_time_left(submit: Submit, waited_ns: int) -> Submit:
    """A request that was put off for so long: its deadline counts from when it was read."""
    if submit.deadline_s is None:
        return submit
    return replace(submit, deadline_s=max(0.001, submit.deadline_s - waited_ns / SECOND_NS))


def no_room(durability: str, *, is_at_its_bound: bool) -> ErrorInfo:
    """What is said when the journal is too full for a job that has to be in it."""
    if is_at_its_bound:
        why = "is at journal.bytes_max and still needs what it has; ask again, raise that bound"
    else:
        why = (
            "has no room yet; ask again, if it stays free space on the disk of its state directory"
        )
    text = (
        f"storage: for a job of durability {durability!r} the journal {why}, or ask for "
        f"durability {MEMORY!r}"
    )
    return error_info(Code.QUEUE_FULL, text, retry_after_ms=1_000)
