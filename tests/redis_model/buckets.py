"""The model's scripts about whole buckets: touch, freeze, republish, thaw, kept."""

from collections.abc import Callable
from typing import Any

from redis_model.bindings import BindingRow, is_ended, keep_listed
from redis_model.store import BucketRow, Store

from pointsman_wire.coordination.keys import unpacked
from pointsman_wire.coordination.requests import (
    NOTHING_SEEN,
    Answer,
    Binding,
    BucketState,
    Freeze,
    Kept,
    KeptFound,
    Owner,
    Republish,
    Republished,
    Request,
    RequestKey,
    Thaw,
    Touch,
    Touched,
)


def touch(store: Store, request: Touch) -> Touched:
    """See `requests.Touch`."""
    entered = store.enter(request.bucket, request.owner, request.seen)
    return _touched(request.number, entered.row, request.owner)


def freeze(store: Store, request: Freeze) -> Touched:
    """See `requests.Freeze`."""
    row = store.enter(request.bucket, request.owner, NOTHING_SEEN).row
    if row is None or row.generation == request.against:
        row = BucketRow(
            generation=f"{store.reign}:{request.proposal}",
            state="frozen",
            seen_ms=store.now_ms,
            counters={request.owner.member: 1},
            published=set(),
        )
        store.put(store.keys.bucket(request.bucket), row, None)
    return _touched(request.number, row, request.owner)


def thaw(store: Store, request: Thaw) -> Touched:
    """See `requests.Thaw`."""
    row = store.enter(request.bucket, request.owner, NOTHING_SEEN).row
    waits_for: tuple[str, ...] = ()
    if row and row.generation == request.generation and row.state == "frozen":
        waits_for = tuple(m for m in request.members if m not in row.published)
        if request.overdue or not waits_for:
            row.state = "open"
    return _touched(request.number, row, request.owner, waits_for)


def _touched(
    number: int, row: BucketRow | None, owner: Owner, waits_for: tuple[str, ...] = ()
) -> Touched:
    if row is None:
        return Touched(number=number, outcome="done", state="missing")
    state: BucketState = "open" if row.state == "open" else "frozen"
    return Touched(
        number=number,
        generation=row.generation,
        counter=row.counters[owner.member],
        outcome="done",
        state=state,
        waits_for=waits_for,
    )


def republish(store: Store, request: Republish) -> Republished:
    """See `requests.Republish`."""
    entered = store.enter(request.bucket, request.owner, NOTHING_SEEN)
    lost: tuple[RequestKey, ...] = ()
    current = entered.row is not None and entered.generation == request.generation
    if entered.row is not None and current:
        lost = tuple(b.key for b in request.bindings if not _put_back(store, request.owner, b))
        if request.last:
            entered.row.published.add(request.owner.member)
    return Republished(
        number=request.number,
        generation=entered.generation,
        counter=entered.counter,
        outcome="done" if current else "behind",
        lost=lost,
    )


def _put_back(store: Store, owner: Owner, binding: Binding) -> bool:
    """Write a binding again; False when somebody else's stands."""
    name = store.keys.binding(binding.key)
    row = store.get(name, BindingRow)
    if row is not None:
        same_owner = row.owner == owner
        older = row.fence < binding.fence or (row.fence == binding.fence and same_owner)
        if row.job_id != binding.job_id or not older:
            return False
        if is_ended(row.state):
            return True
    ended = is_ended(binding.state)
    row = BindingRow(
        key=binding.key,
        job_id=binding.job_id,
        body=binding.body,
        owner=owner,
        fence=binding.fence,
        state=binding.state,
        attempt=binding.attempt,
        renewed_ms=store.now_ms,
        ok=binding.ok,
        keep=None if ended else binding.keep,
        result=binding.result,
    )
    live_ms = int(binding.keep_s * 1000) if ended else store.terms.binding_ms
    store.put(name, row, max(1, live_ms))
    keep_listed(store, row)
    return True


def kept(store: Store, request: Kept) -> KeptFound:
    """See `requests.Kept`."""
    entered = store.enter(request.bucket, request.owner, request.seen)
    lapsed: list[bytes] = []
    if entered.is_open:
        name = store.keys.kept(request.bucket)
        listed: dict[bytes, int] = store.get(name, dict) or {}
        gone_ms = store.now_ms - store.terms.binding_ms
        for member in [m for m, renewed_ms in listed.items() if renewed_ms <= gone_ms]:
            del listed[member]
        if not listed:
            store.drop(name)
        lapsed_ms = store.now_ms - store.terms.lease_ms
        lapsed = [m for m, renewed_ms in listed.items() if renewed_ms <= lapsed_ms]
        lapsed.sort(key=lambda member: (listed[member], member))
    return KeptFound(
        number=request.number,
        generation=entered.generation,
        counter=entered.counter,
        outcome="done" if entered.is_open else "frozen",
        keys=tuple(unpacked(member) for member in lapsed[: request.count_max]),
    )


BUCKET_SCRIPTS: dict[type[Request], Callable[[Store, Any], Answer]] = {
    Touch: touch,
    Freeze: freeze,
    Thaw: thaw,
    Republish: republish,
    Kept: kept,
}
