"""What is told of a conversation: one line for people, or one JSON object, for each piece of news.

Data in, text out; nothing is printed here.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from pointsman.cli.placement_words import pool_words
from pointsman.cli.screen import complete
from pointsman.cli.submitting import Ended
from pointsman.errors import PointsmanError
from pointsman.results import JobPartial
from pointsman.talking.hearing import ConnectionChange, Heard
from pointsman_wire.session_messages import MissingResult, Progress
from pointsman_wire.talk.talk_messages import RoomState, UiEvent

STAGES = ("asr_partial", "asr", "nmt")  # these are told as steps, too

RECOGNISED = ":asr"  # behind the id of an utterance whose direction is asked for first


class Opened(NamedTuple):
    """The session stands."""

    session_id: str
    shard: int
    instance: str


class Said(NamedTuple):
    """An utterance of ours begins."""

    words: str
    utterance_id: str


class Came(NamedTuple):
    """A result of ours, and where its sound was put; `is_new`: its text was not told before."""

    ended: Ended
    written: Path | None
    is_new: bool


class Watched(NamedTuple):
    """A step of somebody else: of what they say, or of how they hear us."""

    name: str
    event: UiEvent


class Overheard(NamedTuple):
    """Somebody else has said something, and where its sound was put."""

    name: str
    heard: Heard
    written: Path | None


# ---- for people


def line_of(news: Any) -> str:
    """Return the line that tells a piece of news; "" for what people need not be told."""
    return _LINES[type(news)](news)


def _opened(news: Opened) -> str:
    return f"session {news.session_id} at worker {news.shard} of {news.instance}"


def _step(event: UiEvent) -> str:
    pool = f", pool {pool_words(event.pool)}" if event.pool else ""
    words = {
        "INPUT_STARTED": "the service hears it",
        "INPUT_ENDED": "all of it is there",
        "DISPATCHED": f"given to {event.node_id}{pool}",
        "NODE_ACCEPTED": f"{event.node_id} has begun",
        "ASR_PARTIAL": f"heard so far: {event.text}",
        "ASR_FINAL": f"heard: {event.text}",
        "NMT_DONE": f"{event.lang}: {event.text}",
    }
    return words.get(event.event, "")  # an error comes as what it made of the utterance


def _watched(news: Watched) -> str:
    words = {
        "INPUT_STARTED": "speaks",
        "ASR_PARTIAL": f"says so far: {news.event.text}",
        "TTS_PLAY_STARTED": "plays what you said",
        "TTS_PLAY_ENDED": "has heard what you said",
    }
    said = words.get(news.event.event, "")  # the rest is told with what they have said
    return f"{news.name} {said}" if said else ""


def _partial(partial: JobPartial) -> str:
    if partial.meta.get("stage") in STAGES:
        return ""
    return partial.payload.decode(errors="replace")


def _progress(progress: Progress) -> str:
    return " ".join(filter(None, [f"{progress.percent:g} %", progress.note]))


def _came(news: Came) -> str:
    result = news.ended.result
    if result.request_id.endswith(RECOGNISED) and not news.is_new:
        return ""  # what was heard is told, and its translation follows
    parts = [f"done by {result.node_id} in {news.ended.total_ms:.0f} ms"]
    if news.is_new and news.ended.text:
        parts.insert(0, news.ended.text)
    if result.status == "completed_no_text":
        parts.insert(0, "nothing was understood")
    if news.written is not None:
        parts.append(str(news.written))
    return ", ".join(parts)


def _overheard(news: Overheard) -> str:
    where = f", {news.written}" if news.written else ""
    return f"{news.name}: {news.heard.text}{where}"


def _room(state: RoomState) -> str:
    if not state.members:
        return "in no room"
    who = [
        f"{member.name or member.session} ({member.lang}{'' if member.connected else ', away'})"
        for member in state.members
    ]
    awaited = "; what you say waits for who is not back yet" if state.awaiting else ""
    return f"in the room {state.room}: {', '.join(who)}{awaited}"


def _missing(missing: MissingResult) -> str:
    first, count = missing.utterance_index, missing.count
    which = f"utterance {first}" if count == 1 else f"utterances {first} to {first + count - 1}"
    return f"no result yet of {which}: {missing.reason}"


def _connection(change: ConnectionChange) -> str:
    if not change.is_up:
        return f"the connection is lost ({change.reason}); trying again"
    how = "goes on where it was" if change.is_resumed else "is opened anew"
    return f"connected again: the session {how}"


_LINES: dict[type, Callable[[Any], str]] = {
    Opened: _opened,
    Said: lambda news: f"you: {news.words}",
    UiEvent: _step,
    JobPartial: _partial,
    Progress: _progress,
    Came: _came,
    Watched: _watched,
    Overheard: _overheard,
    RoomState: _room,
    MissingResult: _missing,
    ConnectionChange: _connection,
}


# ---- for programs


def object_of(news: Any) -> dict[str, Any]:
    """Return the JSON object of a piece of news; `kind` says what it is."""
    if isinstance(news, PointsmanError):
        about = {"request_id": getattr(news, "request_id", "")}
        return {"kind": "failed", **about, "error": complete(news.info)}
    return _OBJECTS[type(news)](news)


def _fields(kind: str) -> Callable[[Any], dict[str, Any]]:
    def told(news: Any) -> dict[str, Any]:
        every = complete(news)
        assert isinstance(every, dict), news
        return {"kind": kind, **every}

    return told


def _piece(partial: JobPartial) -> dict[str, Any]:
    return {
        "kind": "partial",
        "request_id": partial.request_id,
        "text": partial.payload.decode(errors="replace"),
        "meta": partial.meta,
    }


def _other(news: Overheard) -> dict[str, Any]:
    heard = news.heard
    return {
        "kind": "heard",
        "name": news.name,
        "speaker": heard.speaker,
        "request_id": heard.request_id,
        "node_id": heard.node_id,
        "text": heard.text,
        "meta": heard.meta,
        "out": str(news.written or ""),
    }


_OBJECTS: dict[type, Callable[[Any], dict[str, Any]]] = {
    Opened: lambda news: {"kind": "session", **news._asdict()},
    Said: lambda news: {"kind": "said", **news._asdict()},
    UiEvent: _fields("step"),
    JobPartial: _piece,
    Progress: _fields("progress"),
    Came: lambda news: {
        "kind": "result",
        **news.ended.as_data(),
        "out": str(news.written or ""),
    },
    Watched: lambda news: {**_fields("step")(news.event), "name": news.name},
    Overheard: _other,
    RoomState: _fields("room"),
    MissingResult: _fields("missing"),
    ConnectionChange: _fields("connection"),
}
