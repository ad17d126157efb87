"""What a node says of itself at registration, checked and brought into the form that is compared.

Each refusal names the field and what is allowed.  Sizes of lists and strings were judged by the
decoder; here stands what depends on the catalogue, the configuration, and other fields.
"""

from collections.abc import Iterable, Sequence

import msgspec

from pointsman_sched.core.joining.identities import Refusal
from pointsman_shm.config import Config
from pointsman_shm.memory.rows import RowFlag
from pointsman_shm.rules.canonical import canonical_class
from pointsman_shm.rules.pools import satisfied_pools
from pointsman_shm.snapshot.codec import encode_record
from pointsman_shm.snapshot.records import (
    CLASS_RECORD_SIZE_MAX,
    NODE_RECORD_SIZE_MAX,
    CapabilityClass,
    LanguageAbility,
    NmtAbility,
    NodeRecord,
)
from pointsman_wire.control_messages import CAPABILITY_SCHEMA_VERSION, Register, Service
from pointsman_wire.errors import Code

# The widest numbers that a record may come to hold; its size is judged with these.
ROW_WIDEST = 2**31
EPOCH_WIDEST = 2**63 - 1
POOL_WIDEST = 2**31
INSTANCE_NAME_LENGTH_MAX = 32


def wrong(field: str, words: str) -> Refusal:
    """Refuse a declaration because of one field."""
    return Refusal(Code.INVALID_CAPABILITY_SCHEMA, f"{field}: {words}")


def check_schema(schema_version: int) -> Refusal | None:
    """Refuse a declaration of another schema."""
    if schema_version == CAPABILITY_SCHEMA_VERSION:
        return None
    return wrong(
        "schema_version",
        f"{schema_version} was sent, version {CAPABILITY_SCHEMA_VERSION} is spoken here; "
        "install a node of the server's version",
    )


def check_declaration(message: Register, node_id: str, config: Config) -> Refusal | None:
    """Return why a declaration cannot be taken, or None."""
    refusal = (
        check_schema(message.schema_version)
        or check_services(message.services, config)
        or _check_languages(message)
        or _check_names(message)
    )
    if refusal is not None:
        return refusal
    slots_max = config.nodes.max_concurrency_max
    if message.max_concurrency > slots_max:
        return wrong(
            "max_concurrency", f"{message.max_concurrency} slots, at most {slots_max} are taken"
        )
    if config.nodes.require_gpu and not has_gpu(message):
        return Refusal(
            Code.NO_GPU_AVAILABLE, "this fleet takes GPU nodes only, and the node declares no GPU"
        )
    capability = capability_of(message, message.services)
    return check_class_size(capability) or check_record_size(node_id, capability, config)


def check_services(services: Iterable[Service], config: Config) -> Refusal | None:
    """Refuse kinds that the catalogue does not have, and ids that are there twice."""
    known = config.catalogue.service_types()
    seen: set[str] = set()
    for index, service in enumerate(services):
        if service.kind not in known:
            return wrong(
                f"services[{index}].kind",
                f"{service.kind!r} is no service type of this server; "
                f"it has {', '.join(sorted(known))}",
            )
        if service.id in seen:
            return wrong(f"services[{index}].id", f"{service.id!r} is there twice")
        seen.add(service.id)
    return None


def check_class_size(capability: CapabilityClass) -> Refusal | None:
    """Refuse capabilities that would not fit their share of a page."""
    size = len(encode_record(capability))
    if size <= CLASS_RECORD_SIZE_MAX:
        return None
    return wrong(
        "services, features, labels and languages",
        f"together they take {size} bytes, at most {CLASS_RECORD_SIZE_MAX} fit",
    )


def capability_of(message: Register, services: Sequence[Service]) -> CapabilityClass:
    """Return what selection compares of a node with these services."""
    nmt = message.nmt
    has_pairs = bool(nmt.languages or nmt.pairs)
    return canonical_class(
        CapabilityClass(
            tenant=message.tenant,
            public=message.accept_public_jobs,
            gpu=has_gpu(message),
            languages=LanguageAbility(
                asr=tuple(message.asr),
                tts=tuple(message.tts),
                semantic=tuple(message.semantic),
                nmt=NmtAbility(
                    rule=nmt.rule if has_pairs else "",
                    languages=tuple(nmt.languages),
                    pairs=tuple(nmt.pairs),
                    blocked=tuple(nmt.blocked),
                ),
            ),
            features=tuple(message.features),
            labels=tuple(message.labels.items()),
            types_installed=_installed(services),
            types_ready=_ready(services),
            versions=_versions(services),
        )
    )


def with_services(
    capability: CapabilityClass, services: Sequence[Service], *, has_gpus: bool
) -> CapabilityClass:
    """Return the class of a node whose services changed and nothing else.

    `has_gpus`: its hardware has some, on whatever its services run.
    """
    changed = msgspec.structs.replace(
        capability,
        gpu=has_gpus or _runs_on_gpu(services),
        types_installed=_installed(services),
        types_ready=_ready(services),
        versions=_versions(services),
    )
    return canonical_class(changed)


def _installed(services: Sequence[Service]) -> tuple[str, ...]:
    return tuple(service.kind for service in services)


def _ready(services: Sequence[Service]) -> tuple[str, ...]:
    return tuple(service.kind for service in services if service.status == "running")


def _versions(services: Sequence[Service]) -> tuple[tuple[str, str], ...]:
    return tuple((service.kind, service.version) for service in services if service.version)


def has_gpu(message: Register) -> bool:
    """Say whether a node declares a GPU, as hardware or as the device of a service."""
    return bool(message.hardware.gpus) or _runs_on_gpu(message.services)


def _runs_on_gpu(services: Iterable[Service]) -> bool:
    return any(service.device == "gpu" for service in services)


def flags_of(capability: CapabilityClass) -> RowFlag:
    """Return the flags of a row that follow from the class."""
    flags = RowFlag(0)
    if capability.public:
        flags |= RowFlag.PUBLIC
    if capability.gpu:
        flags |= RowFlag.GPU
    return flags


def _check_languages(message: Register) -> Refusal | None:
    nmt = message.nmt
    lists: dict[str, Iterable[str]] = {
        "asr": message.asr,
        "tts": message.tts,
        "semantic": message.semantic,
        "nmt.languages": nmt.languages,
        "nmt.pairs": [code for pair in nmt.pairs for code in pair],
        "nmt.blocked": [code for pair in nmt.blocked for code in pair],
    }
    for field, codes in lists.items():
        for code in codes:
            if not is_language(code):
                return wrong(field, f"{code!r} is no language code such as 'en' or 'pt-br'")
    if nmt.pairs and nmt.rule != "specific_pairs":
        return wrong(
            "nmt.pairs", f"rule {nmt.rule} takes languages; name pairs only with specific_pairs"
        )
    if nmt.languages and nmt.rule == "specific_pairs":
        return wrong("nmt.languages", "rule specific_pairs takes pairs, not languages")
    return None


def is_language(code: str) -> bool:
    """Say whether this can be a language code; "auto" is a wish of sessions, not an ability."""
    return code.replace("-", "").replace("_", "").isalnum() and code.lower() != "auto"


def _check_names(message: Register) -> Refusal | None:
    named: dict[str, Iterable[str]] = {
        "features": message.features,
        "labels": [*message.labels, *message.labels.values()],
        "tenant": (message.tenant,),
    }
    for field, names in named.items():
        for name in names:
            if name and not name.isprintable():
                return wrong(field, f"{name!r} has characters that cannot be printed")
    return None


def check_record_size(node_id: str, capability: CapabilityClass, config: Config) -> Refusal | None:
    """Refuse a node whose record might not fit its share of a page."""
    pools: tuple[int, ...] = (POOL_WIDEST,)
    if config.pools.pools:
        found = satisfied_pools(capability, config.pools.pools, multi_pool=config.pools.multi_pool)
        pools = found if config.pools.multi_pool else pools
    record = NodeRecord(
        row=ROW_WIDEST,
        generation=ROW_WIDEST,
        epoch=EPOCH_WIDEST,
        class_number=ROW_WIDEST,
        node_id=node_id,
        pools=pools,
        slots_max=config.nodes.max_concurrency_max,
        # At another instance the record says where the node is.
        instance="i" * INSTANCE_NAME_LENGTH_MAX,
    )
    size = len(encode_record(record))
    if size <= NODE_RECORD_SIZE_MAX:
        return None
    return wrong(
        "services",
        f"the node would join {len(pools)} pools and its record take {size} bytes, "
        f"at most {NODE_RECORD_SIZE_MAX} fit",
    )
