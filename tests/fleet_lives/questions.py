"""Questions that operators ask of a worker, drawn at random; each has an answer that encodes."""

from random import Random

import msgspec
from several import Instance

from pointsman_wire.admin_messages import NodesQuery, SessionsQuery, SnapshotQuery
from pointsman_wire.messages import Message
from pointsman_wire.queries.explain_messages import (
    CoverageQuery,
    ExplainQuery,
    JobAsk,
    WhereQuery,
    WhyNotQuery,
)
from pointsman_wire.queries.job_messages import PoisonQuery
from pointsman_wire.queries.work_messages import (
    DecisionsQuery,
    JobsQuery,
    QueuesQuery,
    ReasonsQuery,
)

WHAT_IFS: tuple[list[str], ...] = (
    [],
    ["node=node-3:up"],
    ["node=node-4:gone"],
    ["pool=0:slots+4"],
    ["pool=1:slots+4", "node=node-5:up"],
)


def ask(instance: Instance, dice: Random) -> None:
    """Ask one question."""
    msgspec.msgpack.encode(instance.core.answer(_drawn(dice)))


def _drawn(dice: Random) -> Message:
    session_id, request_id = f"s-{dice.randrange(7)}", f"r-{dice.randrange(12)}"
    node_id = f"node-{dice.randrange(3, 8)}"
    wanted = JobAsk(
        session_id=dice.choice(("", session_id)),
        services=dice.choice(([], ["nmt"], ["asr", "nmt"])),
        src_lang="en",
        tgt_lang=dice.choice(("es", "fr")),
        preferred_node=dice.choice(("", node_id)),
        exclude=dice.choice(([], [node_id])),
        tenant=dice.choice(("", "t1")),
    )
    questions: tuple[Message, ...] = (
        ExplainQuery(request_id=request_id, session_id=dice.choice(("", session_id))),
        ExplainQuery(request_id=request_id, replay=True),
        WhereQuery(ask=wanted, what_if=dice.choice(WHAT_IFS)),
        WhyNotQuery(node_id=node_id, ask=wanted),
        WhyNotQuery(node_id=node_id, request_id=request_id),
        CoverageQuery(limit=3, nodes_max=dice.choice((None, 1))),
        NodesQuery(limit=2),
        SnapshotQuery(),
        SessionsQuery(limit=3),
        JobsQuery(limit=3, session_id=dice.choice(("", session_id))),
        QueuesQuery(),
        DecisionsQuery(),
        ReasonsQuery(),
        PoisonQuery(),
    )
    return dice.choice(questions)
