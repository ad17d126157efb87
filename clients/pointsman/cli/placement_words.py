"""A placement and a refusal in words: data in, text and rows out, nothing printed."""

from collections.abc import Sequence

from pointsman.cli.submitting import Ended
from pointsman_wire.messages import Breakdown
from pointsman_wire.session_messages import Placement

NAMES_SHOWN = 3
POOL_WORDS_MAX = 4
LANGUAGES_MAX = 6

# A job that a restarted worker found in its journal: what it cost to place was not kept.
PLACED_BEFORE = "time to place unknown"
_SELECTORS = {
    "preferred": "the node that was asked for",
    "two_level": "a pool, then a node in it",
    "single_level": "any node of the fleet",
    "failover": "another node after a failure",
    "reserve": "a slot that was just freed",
}
_DECISIONS = {
    "hit": "the session's pool",
    "first": "the tightest pool that can",
    "affinity": "the pool its key hashes to",
    "override": "the tenant's own pool",
    "replaced": "in place of a pool that no longer can",
    "reset": "chosen anew for another language pair",
}


def pool_words(name: str) -> str:
    """Return a pool's name; one made of many languages is cut short."""
    words = name.split("-")
    if len(words) <= POOL_WORDS_MAX:
        return name
    return f"{'-'.join(words[:2])}-…({len(words)})"


def ability_words(services: Sequence[str], languages: str) -> str:
    """Return what a node does: services with their languages, and those that know none."""
    spoken = languages_words(languages)
    named = {part.split()[0] for part in spoken.split("; ") if part}
    return "; ".join([*filter(None, [spoken]), *(s for s in services if s not in named)])


def languages_words(languages: str) -> str:
    """Return "asr en; nmt en>es; tts 113 languages": long lists are only counted."""
    parts = []
    for part in filter(str.strip, languages.split(";")):
        service, *codes = part.split()
        long = len(codes) > LANGUAGES_MAX
        parts.append(f"{service} {len(codes)} languages" if long else " ".join([service, *codes]))
    return "; ".join(parts)


def pool_reason(placement: Placement) -> str:
    """Return the pool and how it was found: `en-es: the session's pool`."""
    how = _DECISIONS.get(placement.session_decision, placement.session_decision)
    return ": ".join(filter(None, [pool_words(placement.pool), how]))


def node_reason(placement: Placement) -> str:
    """Return how the node was chosen, among how many, and who came second."""
    how = _SELECTORS.get(placement.selector, placement.selector)
    noun = "candidate" if placement.candidates == 1 else "candidates"
    second = f", before {placement.runner_up}" if placement.runner_up else ""
    return f"{how}; {placement.candidates} {noun}, load {placement.load:.2f}{second}"


def refusal_rows(breakdown: Breakdown) -> list[list[str]]:
    """Return (nodes, reason, which), the most frequent reason first."""
    counts = sorted(breakdown.counts.items(), key=lambda item: -item[1])
    return [
        [str(count), reason.replace("_", " "), _names(breakdown.nodes.get(reason, []), count)]
        for reason, count in counts
        if count
    ]


def _names(names: list[str], count: int) -> str:
    shown = names[:NAMES_SHOWN]
    more = count - len(shown)
    return ", ".join(shown) + (f" and {more} more" if shown and more > 0 else "")


def node_words(node_id: str, instance: str) -> str:
    """Return a node's name, with the instance to which it is connected if that is another one."""
    return f"{node_id} on instance {instance}" if instance else node_id


def nearest_words(breakdown: Breakdown) -> str:
    """Return the nodes that almost could, and what each lacks."""
    parts = []
    for miss in breakdown.nearest[:NAMES_SHOWN]:
        free = f", free in about {miss.free_in_ms / 1000:.1f} s" if miss.free_in_ms else ""
        name = node_words(miss.node_id, miss.instance)
        parts.append(f"{name}: all but {', '.join(miss.missing).replace('_', ' ')}{free}")
    return "; ".join(parts)


def time_words(ended: Ended) -> str:
    """Return how long placing and all of it took, and how long no node had room."""
    result = ended.result
    waited = f", {result.queued_ms:.0f} ms of it for a free node" if result.queued_ms >= 1 else ""
    placed = f"{result.placement_us:.0f} µs to place" if result.placement_us else PLACED_BEFORE
    return f"{placed}, {ended.total_ms:.0f} ms in all{waited}"
