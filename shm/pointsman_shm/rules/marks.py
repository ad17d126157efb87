"""Marks: a service of one node that said MODEL_NOT_AVAILABLE is skipped for a while."""

from collections.abc import Iterable

from pointsman_shm.snapshot.records import CapabilityClass, MarkRecord


def marked_service(
    marks: Iterable[MarkRecord],
    generation: int,
    capability: CapabilityClass,
    types: tuple[str, ...],
    now_ns: int,
) -> str | None:
    """The required service type that a mark forbids on this node now, or None.

    A mark of an earlier holder of the row, of a version that the node no longer runs, or that has
    run out does not count; a mark without a version names every version.
    """
    for mark in marks:
        if mark.generation != generation or mark.until_ns <= now_ns or mark.service not in types:
            continue
        if not mark.version or (mark.service, mark.version) in capability.versions:
            return mark.service
    return None
