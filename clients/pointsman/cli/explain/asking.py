"""Putting questions about decisions to workers: who is asked, and which answer counts."""

import asyncio
from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

from msgspec.structs import replace

from pointsman.cli.endings import USAGE, Trouble, refused
from pointsman.cli.fleet.asking import Heard, Service, ask_each, nobody_there, of_kind
from pointsman_wire.admin_messages import AdminQuery
from pointsman_wire.messages import ErrorInfo
from pointsman_wire.queries.explain_messages import SkipView, WhyNot
from pointsman_wire.shards import shard_of

AnswerKind = TypeVar("AnswerKind")


class Said(NamedTuple, Generic[AnswerKind]):
    """What workers said: answers of the kind asked for, and who gave none, and why."""

    answers: dict[str, AnswerKind]
    refusals: list[ErrorInfo]
    faults: list[Heard]

    def first(self) -> AnswerKind:
        """The first answer; raises Trouble with the words of a worker when there is none."""
        if self.answers:
            return next(iter(self.answers.values()))
        raise refused(self.refusals[0])


def ask_workers(
    service: Service, query: AdminQuery, kind: type[AnswerKind], workers: Sequence[str] = ()
) -> Said[AnswerKind]:
    """Put one question to all workers, or to these.  Raises Trouble when nobody answers."""
    asked = workers or service.workers
    heard = asyncio.run(ask_each(service.runtime_dir, asked, query))
    answers = of_kind(heard, kind)
    refusals = [one.error for one in heard if one.error is not None]
    faults = [one for one in heard if one.process not in answers and one.error is None]
    if not answers and not refusals:
        raise nobody_there(service, faults)
    return Said(answers, refusals, faults)


def owner_of(service: Service, session_id: str) -> list[str]:
    """Return the worker that a session belongs to; all of them for no session in particular."""
    if not session_id:
        return []
    return [service.workers[shard_of(session_id, len(service.workers))]]


def together(answers: dict[str, WhyNot]) -> WhyNot:
    """Return what all workers say of a node, added up."""
    all_said = [answer for answer in answers.values() if answer.known]
    if not all_said:
        raise Trouble(
            f"no node {next(iter(answers.values())).node_id!r} is known",
            todo="`pointsman nodes` lists those that are; who left is remembered for ten minutes",
            code=USAGE,
        )
    skips: dict[str, SkipView] = {}
    for skip in (skip for answer in all_said for skip in answer.skips):
        known = skips.get(skip.reason)
        jobs = skip.jobs + (known.jobs if known else 0)
        skips[skip.reason] = replace(known or skip, jobs=jobs)
    return replace(
        min(all_said, key=lambda answer: answer.able),  # a lane may be missing to one of them
        jobs_seen=sum(answer.jobs_seen for answer in all_said),
        jobs_taken=sum(answer.jobs_taken for answer in all_said),
        jobs_outranked=sum(answer.jobs_outranked for answer in all_said),
        jobs_not_drawn=sum(answer.jobs_not_drawn for answer in all_said),
        skips=sorted(skips.values(), key=lambda skip: -skip.jobs),
    )
