"""The options of nodes, sessions and submits, each with its type and default in one place.

They are keyword arguments of Node, connect, Session.submit and their blocking twins; an unknown
one is a TypeError, a value out of bounds a ValueError that names it.
"""

import ssl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, TypeVar

import msgspec

from pointsman.owner.probes import Probe, checked_probes, probe_words
from pointsman.secure.reaching import Belief
from pointsman_wire.control_messages import Hardware, Register, Service, Translation
from pointsman_wire.limits import HEADER_TAKEN_BYTES_MAX
from pointsman_wire.messages import Priority, check_own_meta
from pointsman_wire.session_messages import Durability, Mode, Order, SessionInit, Submit
from pointsman_wire.talk.talk_messages import AudioChunk, RoomJoin, UiEvent, Utterance

T = TypeVar("T", bound=msgspec.Struct)


class NodeOptions(TypedDict, total=False):
    """What a node offers and how it behaves."""

    services: Sequence[str | Service]  # kinds such as "asr", or Service with version and model
    asr: Sequence[str]  # languages that are recognised
    nmt: Sequence[tuple[str, str]] | Translation  # pairs that are translated
    tts: Sequence[str]  # languages that are spoken
    semantic: Sequence[str]  # languages of semantic repair
    features: Sequence[str]
    max_concurrency: int  # jobs at a time, 4 by default
    node_id: str  # made by the server when empty
    labels: Mapping[str, str]
    state_dir: str | Path | None  # keeps id, key and fences over restarts
    token: str
    tls: ssl.SSLContext | None  # a context of your own; or, with tls:// and wss://, one of
    ca: str | Path | None  # who has signed the server's certificate (PEM); the system's by default
    pin: str  # the server's key itself, "sha256:...", as the service says it
    enrol: str  # an introduction (pointsman enrol), for a node that has no certificate yet
    pool: str  # the pool that it was introduced for
    tenant: str
    accept_public_jobs: bool
    pool_hints: Sequence[str]
    owner_policy: Sequence[Probe]  # what asks for a pause: QuietHours, ForeignCpu, functions
    hardware: Hardware  # measured when not given
    report_load: bool  # say how busy the machine is; busy ones get no jobs; True by default
    drain_s: float  # how long running jobs may take to end on SIGTERM, 30 s by default
    history: str | Path | None  # a file to append to what happens, for the history checker


class ConnectOptions(TypedDict, total=False):
    """What a session is for, and how it is reached."""

    src: str  # language of what is submitted; "auto" is allowed
    tgt: str  # language of what is wanted
    tenant: str
    session_id: str  # keep it to meet the same jobs again; made by the server when empty
    token: str  # what POINTSMAN_TOKEN says when empty; the tenant is the token's
    tls: ssl.SSLContext | None  # a context of your own; or, with tls:// and wss://, one of
    ca: str | Path | None  # who has signed the server's certificate (PEM); the system's by default
    pin: str  # the server's key itself, "sha256:...", as the service says it
    features: Sequence[str]
    dialect: str
    pairing_code: str
    mode: Mode
    lang_a: str
    lang_b: str
    auto_langs: Sequence[str]
    # free: jobs run and end as they can; serial: one after the other; utterance: results come
    # in the order of utterance_index
    order: Order
    platform: str
    trace_id: str  # of its jobs that name none; a W3C traceparent, for instance
    hears: str  # the language in which it wants to hear what others say to it
    room: str  # a new session is made at the worker of this room
    connect_timeout_s: float | None  # give up opening after so long, 10 s by default
    close_timeout_s: float  # at the end, cancel what has no result after so long; 30 s by default
    history: str | Path | None  # a file to append to what happens, for the history checker


class TrunkOptions(TypedDict, total=False):
    """How a trunk reaches the server."""

    token: str
    tls: ssl.SSLContext | None  # a context of your own; or, with tls:// and wss://, one of
    ca: str | Path | None  # who has signed the server's certificate (PEM); the system's by default
    pin: str  # the server's key itself, "sha256:...", as the service says it
    history: str | Path | None  # as of connect, for all its sessions


class SubmitOptions(TypedDict, total=False):
    """What a job needs."""

    request_id: str  # the same id again is answered with the same job; made here when empty
    services: Sequence[str]  # all of them run on one node; empty: what features ask for
    features: Sequence[str]
    src: str  # instead of the session's
    tgt: str
    auto_langs: Sequence[str]
    timeout_s: float  # of one attempt
    deadline_s: float  # of the whole job
    expected_duration_ms: int
    wait_busy_s: float  # how long to wait while capable nodes are busy
    wait_none_s: float  # how long to wait while there is no capable node
    priority: Priority
    durability: Durability
    labels_required: Mapping[str, str]
    labels_preferred: Mapping[str, str]
    accept_public: bool
    preferred_node: str
    exclude: Sequence[str]
    idempotent: bool
    utterance_index: int
    content_type: str
    meta: Mapping[str, Any]
    trace_id: str
    explain: bool  # have the placement told in the result


class NodeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a node with their defaults; see NodeOptions."""

    services: Sequence[str | Service] = ()
    asr: Sequence[str] = ()
    nmt: Sequence[tuple[str, str]] | Translation = ()
    tts: Sequence[str] = ()
    semantic: Sequence[str] = ()
    features: Sequence[str] = ()
    max_concurrency: int = 4
    node_id: str = ""
    labels: Mapping[str, str] = {}
    state_dir: str | Path | None = None
    token: str = ""
    tls: ssl.SSLContext | None = None
    ca: str | Path | None = None
    pin: str = ""
    enrol: str = ""
    pool: str = ""
    tenant: str = ""
    accept_public_jobs: bool = True
    pool_hints: Sequence[str] = ()
    owner_policy: Sequence[Probe] = ()
    hardware: Hardware | None = None
    report_load: bool = True
    drain_s: float = 30.0
    history: str | Path | None = None


class ConnectSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a session with their defaults; see ConnectOptions."""

    src: str = ""
    tgt: str = ""
    tenant: str = ""
    session_id: str = ""
    token: str = ""
    tls: ssl.SSLContext | None = None
    ca: str | Path | None = None
    pin: str = ""
    features: Sequence[str] = ()
    dialect: str = ""
    pairing_code: str = ""
    mode: Mode = "one_way"
    lang_a: str = ""
    lang_b: str = ""
    auto_langs: Sequence[str] = ()
    order: Order = "free"
    platform: str = ""
    trace_id: str = ""
    hears: str = ""
    room: str = ""
    connect_timeout_s: float | None = 10.0
    close_timeout_s: float = 30.0
    history: str | Path | None = None


def register_message(settings: NodeSettings, *, version: str, platform: str) -> Register:
    """Return the registration that these options ask for.  Raises ValueError."""
    nmt = settings.nmt
    if not isinstance(nmt, Translation):
        nmt = Translation(pairs=[(src, tgt) for src, tgt in nmt])
    services = [_service(service) for service in settings.services]
    if not services:
        raise ValueError("services: name at least one, such as services=['nmt']")
    register = Register(
        node_id=settings.node_id,
        token=settings.token,
        version=version,
        platform=platform,
        hardware=settings.hardware or Hardware(),
        services=services,
        features=list(settings.features),
        asr=list(settings.asr),
        tts=list(settings.tts),
        semantic=list(settings.semantic),
        nmt=nmt,
        max_concurrency=settings.max_concurrency,
        accept_public_jobs=settings.accept_public_jobs,
        tenant=settings.tenant,
        pool_hints=list(settings.pool_hints),
        labels=dict(settings.labels),
        owner_policy=[probe_words(probe) for probe in checked_probes(settings.owner_policy)],
    )
    return checked(register)


def _service(service: str | Service) -> Service:
    return Service(id=service, kind=service) if isinstance(service, str) else service


def session_message(settings: ConnectSettings) -> SessionInit:
    """Return the session_init that these options ask for.  Raises ValueError."""
    init = SessionInit(
        session_id=settings.session_id,
        tenant=settings.tenant,
        token=settings.token,
        platform=settings.platform,
        src_lang=settings.src,
        tgt_lang=settings.tgt,
        dialect=settings.dialect,
        features=list(settings.features),
        pairing_code=settings.pairing_code,
        mode=settings.mode,
        lang_a=settings.lang_a,
        lang_b=settings.lang_b,
        auto_langs=list(settings.auto_langs),
        order=settings.order,
        trace_id=settings.trace_id,
        hears=settings.hears,
        room=settings.room,
    )
    return checked(init)


def belief_of(settings: ConnectSettings | NodeSettings) -> Belief:
    """Return whom these options believe."""
    return Belief(tls=settings.tls, ca=settings.ca, pin=settings.pin)


def submit_message(options: Mapping[str, Any], *, number: int, stream: bool) -> Submit:
    """Return the submit that these options ask for.  Raises TypeError, ValueError."""
    fields = dict(options)
    if "src" in fields:
        fields["src_lang"] = fields.pop("src")
    if "tgt" in fields:
        fields["tgt_lang"] = fields.pop("tgt")
    if fields.get("meta") is not None:
        check_own_meta(fields["meta"])
    return checked(Submit(session_number=number, stream=stream, **fields))


TALK = (Utterance, AudioChunk, RoomJoin, UiEvent)
_encode = msgspec.msgpack.Encoder().encode
_decoders: dict[type, Callable[[bytes], Any]] = {
    kind: msgspec.msgpack.Decoder(kind).decode for kind in (Register, SessionInit, Submit, *TALK)
}


def as_bytes(body: bytes | bytearray | memoryview | str) -> bytes:
    """Return the bytes of a text or a buffer; TypeError for a number, of which Python makes zeros.

    Raises UnicodeEncodeError.
    """
    if isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else bytes(memoryview(body))


def checked(message: T) -> T:
    """Return the message as its receiver will read it.  Raises ValueError saying what is wrong."""
    name = message.__struct_config__.tag
    try:
        encoded = _encode(message)
        decoded: T = _decoders[type(message)](encoded)
    except (msgspec.ValidationError, TypeError, OverflowError) as error:
        raise ValueError(f"{name}: {error}") from None
    if len(encoded) > HEADER_TAKEN_BYTES_MAX:
        words = f"{len(encoded)} bytes beside the payload, at most {HEADER_TAKEN_BYTES_MAX}"
        raise ValueError(f"{name}: {words} are taken")
    return decoded
