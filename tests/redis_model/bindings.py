"""The model's scripts about one binding: bind, lookup, end, release, renew, move."""

from collections.abc import Callable
from typing import Any

import msgspec
from redis_model.store import Entered, Store

from pointsman_wire.coordination.keys import bucket_of, packed
from pointsman_wire.coordination.requests import (
    Answer,
    Bind,
    BindOutcome,
    Bound,
    End,
    Ended,
    Lookup,
    Move,
    Moved,
    Owner,
    Release,
    Renew,
    Renewed,
    Request,
    RequestKey,
    State,
)

RANKS: dict[State, int] = {
    "CREATED": 0,
    "DISPATCHED": 1,
    "ACCEPTED": 2,
    "RUNNING": 3,
    "FINISHED": 4,
    "RELEASED": 5,
}


class BindingRow(msgspec.Struct, kw_only=True):
    """One binding as it is stored."""

    key: RequestKey
    job_id: str
    body: int
    owner: Owner
    fence: int
    state: State
    attempt: int
    renewed_ms: int
    ok: bool = False
    keep: bytes | None = None
    result: bytes | None = None


def is_ended(state: State) -> bool:
    """Whether the window holds it, and no lease."""
    return RANKS[state] >= RANKS["FINISHED"]


def keep_listed(store: Store, row: BindingRow) -> None:
    """List a binding that can be run elsewhere by when it was renewed, while it lives."""
    name = store.keys.kept(bucket_of(row.key))
    listed: dict[bytes, int] = store.get(name, dict) or {}
    if row.keep is not None and not is_ended(row.state):
        listed[packed(row.key)] = row.renewed_ms
        store.put(name, listed, store.terms.binding_ms)
    elif listed.pop(packed(row.key), None) is not None and not listed:
        store.drop(name)


def bind(store: Store, request: Bind) -> Bound:
    """See `requests.Bind`."""
    entered = store.enter(bucket_of(request.key), request.owner, request.seen)
    if not entered.is_open:
        return _bound(request, entered, "frozen", None)
    name = store.keys.binding(request.key)
    row = store.get(name, BindingRow)
    outcome: BindOutcome
    if row is None:
        outcome = "won"
        row = BindingRow(
            key=request.key,
            job_id=request.job_id,
            body=request.body,
            owner=request.owner,
            fence=request.fence,
            state="CREATED",
            attempt=0,
            renewed_ms=store.now_ms,
            keep=request.keep,
        )
    else:
        outcome = _standing(store, row, request.owner)
        if row.body != request.body:
            outcome = "conflict"
    if outcome == "mine":
        row.fence = max(row.fence, request.fence)
    elif outcome == "lapsed":
        outcome = "taken_over"
        row.owner, row.fence = request.owner, max(request.fence, row.fence + 1)
    if outcome in ("won", "mine", "taken_over"):
        _renewed(store, name, row)
    return _bound(request, entered, outcome, row)


def _standing(store: Store, row: BindingRow, owner: Owner) -> BindOutcome:
    """What a binding is to somebody who asks."""
    if is_ended(row.state):
        return "ended"
    if row.owner == owner:
        return "mine"
    # The clock went back: the lease begins again, rather than last until it is caught up.
    row.renewed_ms = min(row.renewed_ms, store.now_ms)
    return "lapsed" if store.now_ms - row.renewed_ms >= store.terms.lease_ms else "follows"


def _renewed(store: Store, name: str, row: BindingRow, *, age_ms: int = 0) -> None:
    row.renewed_ms = store.now_ms - age_ms
    store.put(name, row, store.terms.binding_ms)
    if row.keep is not None:
        keep_listed(store, row)


def _bound(
    request: Bind | Lookup, entered: Entered, outcome: BindOutcome, row: BindingRow | None
) -> Bound:
    if row is None:
        return Bound(
            number=request.number,
            generation=entered.generation,
            counter=entered.counter,
            outcome=outcome,
        )
    return Bound(
        number=request.number,
        generation=entered.generation,
        counter=entered.counter,
        outcome=outcome,
        job_id=row.job_id,
        owner=row.owner,
        fence=row.fence,
        state=row.state,
        attempt=row.attempt,
        ok=row.ok,
        result=row.result if outcome == "ended" else None,
        keep=row.keep if outcome in ("mine", "lapsed", "taken_over") else None,
        body=row.body,
    )


def lookup(store: Store, request: Lookup) -> Bound:
    """See `requests.Lookup`."""
    entered = store.enter(bucket_of(request.key), request.owner, request.seen)
    if not entered.is_open:
        return _bound(request, entered, "frozen", None)
    row = store.get(store.keys.binding(request.key), BindingRow)
    outcome = "missing" if row is None else _standing(store, row, request.owner)
    return _bound(request, entered, outcome, row)


def end(store: Store, request: End) -> Ended:
    """See `requests.End`."""
    entered = store.enter(bucket_of(request.key), request.owner, request.seen)
    name = store.keys.binding(request.key)
    row = store.get(name, BindingRow)
    if row is None:
        return _ended(request, entered, "missing")
    if row.owner != request.owner or row.fence != request.fence:
        return _ended(request, entered, "fenced")
    if not is_ended(row.state):
        row.state = "RELEASED" if request.released else "FINISHED"
        row.ok, row.result, row.keep = request.ok, request.result, None
        store.put(name, row, max(1, int(request.keep_s * 1000)))
        keep_listed(store, row)
    elif request.result is not None:
        row.result = request.result
    return _ended(request, entered, "done")


def release(store: Store, request: Release) -> Ended:
    """See `requests.Release`."""
    entered = store.enter(bucket_of(request.key), request.owner, request.seen)
    name = store.keys.binding(request.key)
    row = store.get(name, BindingRow)
    if row is None:
        return _ended(request, entered, "missing")
    if row.owner != request.owner or row.fence != request.fence or is_ended(row.state):
        return _ended(request, entered, "fenced")
    row.keep = None
    keep_listed(store, row)
    store.drop(name)
    return _ended(request, entered, "done")


def _ended(request: End | Release, entered: Entered, outcome: Any) -> Ended:
    return Ended(
        number=request.number,
        generation=entered.generation,
        counter=entered.counter,
        outcome=outcome,
    )


def renew(store: Store, request: Renew) -> Renewed:
    """See `requests.Renew`."""
    entered = store.enter(request.bucket, request.owner, request.seen)
    lost, missing = [], []
    for key, fence in request.held:
        name = store.keys.binding(key)
        row = store.get(name, BindingRow)
        if row is None:
            missing.append(key)
        elif row.owner != request.owner or row.fence != fence or is_ended(row.state):
            lost.append(key)
        else:
            _renewed(store, name, row, age_ms=store.terms.lease_ms if request.lapses else 0)
    return Renewed(
        number=request.number,
        generation=entered.generation,
        counter=entered.counter,
        outcome="done",
        lost=tuple(lost),
        missing=tuple(missing),
    )


def move(store: Store, request: Move) -> Moved:
    """See `requests.Move`."""
    entered = store.enter(bucket_of(request.key), request.owner, request.seen)
    row = store.get(store.keys.binding(request.key), BindingRow)
    outcome: Any = "missing"
    if row is not None and (row.owner != request.owner or row.fence != request.fence):
        outcome = "fenced"
    elif row is not None:
        outcome = "done" if _moves(row, request) else "refused"
    return Moved(
        number=request.number,
        generation=entered.generation,
        counter=entered.counter,
        outcome=outcome,
        state=row.state if row else "CREATED",
    )


def _moves(row: BindingRow, request: Move) -> bool:
    if request.to == "CREATED":
        if request.attempt < row.attempt or is_ended(row.state):
            return False
        if request.attempt > row.attempt:
            row.state, row.attempt = "CREATED", request.attempt
        return True
    if request.attempt != row.attempt:
        return False
    if RANKS[row.state] >= RANKS[request.to]:
        return True
    if request.to == "RELEASED" and row.state != "FINISHED":
        return False
    row.state = request.to
    return True


BINDING_SCRIPTS: dict[type[Request], Callable[[Store, Any], Answer]] = {
    Bind: bind,
    Lookup: lookup,
    End: end,
    Release: release,
    Renew: renew,
    Move: move,
}
