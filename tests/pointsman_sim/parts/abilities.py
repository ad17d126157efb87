"""What simulated nodes can do, and what simulated clients ask for."""

import msgspec

from pointsman_sim.world.dice import Dice
from pointsman_wire.control_messages import Register, Service, Translation
from pointsman_wire.session_messages import Submit

TENANT = "acme"
_SPANISH = Translation(rule="specific_pairs", pairs=[("en", "es"), ("en", "de")])
_ANY = Translation(rule="any_to_any", languages=["en", "es", "de", "zh"], blocked=[("de", "zh")])


def _services(*kinds: str) -> list[Service]:
    return [Service(id=kind, kind=kind) for kind in kinds]


NODES = (
    Register(services=_services("nmt"), nmt=_SPANISH),
    Register(services=_services("nmt", "semantic"), nmt=_ANY, semantic=["en", "es", "de"]),
    Register(services=_services("asr", "nmt", "tts"), asr=["en"], nmt=_SPANISH, tts=["es", "de"]),
    Register(services=_services("asr"), asr=["en", "zh"], features=["emotion_detection"]),
)

# The most usual first; the first two can be done by the first node of every cluster.
REQUESTS = (
    Submit(services=["nmt"], src_lang="en", tgt_lang="es"),
    Submit(services=["nmt"], src_lang="en", tgt_lang="de", stream=True),
    Submit(services=["nmt"], src_lang="zh", tgt_lang="en", explain=True),
    Submit(services=["nmt"], src_lang="auto", tgt_lang="es"),
    Submit(services=["asr"], src_lang="en"),
    Submit(services=["tts"], tgt_lang="es"),
    Submit(src_lang="en", tgt_lang="es"),  # the whole pipeline
    Submit(src_lang="en", tgt_lang="es", features=["emotion_detection"]),
    # No node can do these, and no server knows the last two.
    Submit(services=["nmt"], src_lang="en", tgt_lang="tlh", explain=True),
    Submit(services=["nmt"], src_lang="en", tgt_lang="es", labels_required={"zone": "moon"}),
    Submit(services=["juggling"]),
    Submit(services=["nmt"], src_lang="en", tgt_lang="es", features=["omniscience"]),
)


def draw_register(dice: Dice, index: int) -> Register:
    """Draw what a node can do; the first can translate for everybody."""
    register = NODES[0] if index == 0 else dice.pick((NODES[0], *NODES))
    register = msgspec.structs.replace(register, max_concurrency=dice.pick((1, 2, 4, 8)))
    if index and dice.chance(0.15):
        register = msgspec.structs.replace(register, tenant=TENANT, accept_public_jobs=False)
    return register


def draw_submit(dice: Dice, request_id: str) -> Submit:
    """Draw a request: what is asked for, its limits and wishes."""
    submit = dice.pick(REQUESTS) if dice.chance(0.3) else dice.pick(REQUESTS[:2])
    return msgspec.structs.replace(
        submit,
        request_id=request_id,
        priority=dice.pick(("default", "default", "interactive", "bulk", "system")),
        timeout_s=dice.pick((None, None, None, None, 0.3, 2.0)),
        deadline_s=dice.pick((None, None, None, None, None, 0.2, 3.0)),
        expected_duration_ms=dice.pick((None, None, None, 200)),
        wait_busy_s=dice.pick((None, None, None, 0.0, 1.0)),
        wait_none_s=dice.pick((None, None, None, 0.0)),
        preferred_node=dice.pick(("", "", "", "", "node-0")),
        durability=dice.pick((None, None, None, None, "journal", "fsync", "memory")),
        exclude=["node-0"] if dice.chance(0.1) else [],
        idempotent=dice.chance(0.5),
    )
