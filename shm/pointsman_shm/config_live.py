"""Which keys of the configuration a running service takes up at a reload, and how workers hear.

    file ──► manager: judged whole ──► ConfigPage.live ──► each worker, with that version

Whatever is not named here is read once, when a process starts, and its change needs a restart:
sizes of what is made at the start (segments, windows, journals), ports, directories and keys, and
what clients and nodes were told when they came (payload_bytes_max, idle_s, heartbeats).
"""

from typing import Any

import msgspec
from msgspec.structs import replace

from pointsman_shm.config import Config

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
    # What holds for tenants; who is listed has a place in shared memory, made at the start.
    "tenants": ("others", "with_tokens", "listed"),
    # Told to each process by an order, as operators give them.
    "logs": ("level",),
}
# Sections of which workers take what is hot; the manager has its own keys at hand.
WORKER_SECTIONS = ("jobs", "sessions", "limits", "tenants")
# In a fleet of several instances their shares of a rate are divided by what each began with.
ALONE_SECTIONS = ("tenants",)

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
    if is_alone:
        told = {tenant.name: tenant for tenant in new.tenants.listed}
        listed = tuple(told.get(tenant.name, tenant) for tenant in old.tenants.listed)
        sections["tenants"] = replace(sections["tenants"], listed=listed)
    return replace(old, **sections)


def live_settings(config: Config) -> bytes:
    """Return what workers are told of a configuration; equal settings are equal bytes."""
    return _encode(
        {
            section: {key: getattr(getattr(config, section), key) for key in HOT_KEYS[section]}
            for section in WORKER_SECTIONS
        }
    )


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
