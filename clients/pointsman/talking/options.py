"""The options of what is said, each with its type; an unknown one is a TypeError."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from pointsman.options import as_bytes, checked
from pointsman_wire.messages import Priority
from pointsman_wire.talk.talk_messages import AudioChunk, Utterance

WAV_START = b"RIFF"


class TalkOptions(TypedDict, total=False):
    """How something is said, and to whom."""

    src: str  # instead of the session's; "auto" is allowed
    tgt: str | Sequence[str]  # one language or several: one job for each
    to: Sequence[str]  # ids of sessions that are to hear it, each in its language
    services: Sequence[str]  # asr, nmt, tts by default; nmt, tts of a text
    utterance_id: str  # the same id again is answered with the same jobs; made here when empty
    utterance_index: int
    content_type: str  # of sound: "audio/pcm;rate=16000" or "audio/wav"
    priority: Priority
    preferred_node: str
    trace_id: str
    explain: bool


class SpeechOptions(TalkOptions, total=False):
    """How something is said while it is spoken."""

    partials: bool  # recognise it meanwhile, as far as there is room for that


def utterance_message(words: str | bytes, options: Mapping[str, Any]) -> tuple[Utterance, bytes]:
    """Return what says a text, or a sound, as a whole.  Raises TypeError, ValueError."""
    fields = _fields(options)
    if isinstance(words, str):
        return checked(Utterance(text=words, **fields)), b""
    sound = as_bytes(words)
    if sound.startswith(WAV_START):
        fields.setdefault("content_type", "audio/wav")
    return checked(Utterance(**fields)), sound


def chunk_message(options: Mapping[str, Any]) -> AudioChunk:
    """Return the first piece of a sound.  Raises TypeError, ValueError."""
    return checked(AudioChunk(**_fields(options)))


def _fields(options: Mapping[str, Any]) -> dict[str, Any]:
    fields = dict(options)
    if "src" in fields:
        fields["src_lang"] = fields.pop("src")
    target = fields.pop("tgt", "")
    if isinstance(target, str):
        fields["tgt_lang"] = target
    else:
        fields["tgt_langs"] = list(target)
    for name in ("to", "services"):
        if name in fields:
            fields[name] = list(fields[name])
    if not fields.get("utterance_id"):
        fields["utterance_id"] = f"u-{os.urandom(6).hex()}"
    return fields
