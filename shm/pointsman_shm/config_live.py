"""Which keys of the configuration a running service takes up at a reload, and how workers hear.

    file ──► manager: judged whole ──► ConfigPage.live ──► each worker, with that version

Whatever is not named here is read once, when a process starts, and its change needs a restart:
sizes of what is made at the start (segments, windows, journals), ports, directories and keys, and
what clients and nodes were told when they came (payload_bytes_max, idle_s, heartbeats).
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from pointsman_shm.config import LISTED_MAX, Config, ListedTenant

# All of these; then single keys of other sections.
HOT_SECTIONS = ("pools", "catalogue")
HOT_KEYS: dict[str, tuple[str, ...]] = {
    "nodes": ("max_concurrency_max", "require_gpu", "drain_s", "resource_threshold_percent"),
    "jobs": (
        "timeout_s",
        "ack_s",
        "duration_base_s",
        "duration_factor",
        "duration_timeout_min_s",
        "duration_timeout_max_s",
        "failovers_max",
        "wait_busy_s",
        "wait_none_s",
        "poison_failures",
        "poison_crashes",
    ),
    "sessions": ("pending_results_max", "sessions_max"),
    "limits": (
        "sessions_per_address_max",
        "queued_per_tenant_max",
        "queued_per_shard_max",
        "queued_per_host_max",
        "queued_bytes_max",
    ),
    "tenants": ("others", "with_tokens", "listed"),
    # Told to each process by an order, as operators give them.
    "logs": ("level",),
}
# Sections of which workers take what is hot; the manager has its own keys at hand.
WORKER_SECTIONS = ("jobs", "sessions", "limits", "tenants")
# In a fleet of several instances their shares of a rate are divided by what each began with.
ALONE_SECTIONS = ("tenants",)

# The names of listed tenants by their places in shared memory; None: nobody's at the moment.
Places = tuple[str | None, ...]
_PLACES = range(LISTED_MAX)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, dict[str, Any]]).decode


def with_hot(old: Config, new: Config, *, is_alone: bool = True) -> Config:
    """Return the old configuration with all of the new one that can be applied at once.

    `is_alone`: the service shares its fleet with no other instance.
    """
    sections: dict[str, Any] = {name: getattr(new, name) for name in HOT_SECTIONS}
    for name, keys in HOT_KEYS.items():
        if is_alone or name not in ALONE_SECTIONS:
            wanted = {key: getattr(getattr(new, name), key) for key in keys}
            sections[name] = replace(getattr(old, name), **wanted)
    return replace(old, **sections)


def tenant_places(listed: Sequence[ListedTenant], before: Places = ()) -> Places:
    """Give each listed tenant a place: who has one keeps it, who is new gets the lowest free."""
    names = [tenant.name for tenant in listed]
    places = [name if name in names else None for name in before]
    for name in names:
        if name in places:
            continue
        if None in places:
            places[places.index(None)] = name
        else:
            places.append(name)
    return tuple(places)


def live_settings(config: Config, places: Places) -> bytes:
    """Return what workers are told of a configuration; equal settings are equal bytes."""
    told: dict[str, dict[str, Any]] = {
        section: {key: getattr(getattr(config, section), key) for key in HOT_KEYS[section]}
        for section in WORKER_SECTIONS
    }
    told["places"] = {"listed": [places.index(tenant.name) for tenant in config.tenants.listed]}
    return _encode(told)


def live_places(live: bytes, listed: Sequence[ListedTenant]) -> Sequence[int]:
    """Return the places of these tenants as they were told; by their order if they were not."""
    told = _decode(live).get("places", {}).get("listed", [])
    is_sound = len(told) == len(listed) == len({place for place in told if place in _PLACES})
    return told if is_sound else range(len(listed))


def with_live(config: Config, live: bytes) -> Config:
    """Return the configuration of a process, with what may change as `live` says."""
    told = _decode(live)
    sections = {
        name: _with_keys(getattr(config, name), told.get(name, {})) for name in WORKER_SECTIONS
    }
    return replace(config, **sections)


def _with_keys(section: msgspec.Struct, told: dict[str, Any]) -> msgspec.Struct:
    types = {field.name: field.type for field in msgspec.structs.fields(section)}
    known = {key: msgspec.convert(told[key], types[key]) for key in told.keys() & types.keys()}
    return replace(section, **known)
