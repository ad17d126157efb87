"""People who talk, for stories: what they say goes in, what they see and hear comes out.

At the end: what is said to a client's core, and what the server tells it of that.
"""

from typing import Any

from client_harness import ClientHarness, of
from fleet_samples import speech_class
from worker_harness import SECOND_NS, Client, Host, Node, WorkerHarness

from pointsman.session_core.talk_events import PieceSpoken, UtteranceEnded, UtteranceWished
from pointsman_shm.config import Config
from pointsman_wire.lane_messages import Assign, NodePartial
from pointsman_wire.messages import Error
from pointsman_wire.session_messages import Result
from pointsman_wire.talk.talk_messages import (
    AudioChunk,
    RoomJoin,
    RoomState,
    UiEvent,
    Utterance,
    UtteranceJobs,
)

SECOND_OF_SOUND = b"\x01\x02" * 16_000


class Talker:
    """A client whose user talks."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.harness = client.harness
        self.session_id = client.ack.session_id

    def say(self, text: str, utterance_id: str = "u-1", **fields: object) -> None:
        """Say a text."""
        message = Utterance(text=text, utterance_id=utterance_id, **fields)  # type: ignore[arg-type]
        self.harness.receive(self.client.connection, message)

    def speak(self, seq: int, sound: bytes, utterance_id: str = "u-1", **fields: object) -> None:
        """Send a piece of sound."""
        message = AudioChunk(utterance_id=utterance_id, seq=seq, **fields)  # type: ignore[arg-type]
        self.harness.receive(self.client.connection, message, sound)

    def enter(self, room: str, lang: str, name: str = "") -> None:
        """Go into a room."""
        message = RoomJoin(room=room, lang=lang, name=name)
        self.harness.receive(self.client.connection, message)

    def events(self) -> list[UiEvent]:
        """What was shown since the last look."""
        return self.client.all(UiEvent)

    def steps(self) -> list[str]:
        """The names of it."""
        return [event.event for event in self.events()]

    def results(self) -> list[Result]:
        """What was heard since the last look."""
        return self.client.all(Result)

    def errors(self) -> list[str]:
        """Codes of what was refused."""
        return [error.error.code for error in self.client.all(Error)]

    def members(self) -> list[tuple[str, bool]]:
        """Who is in the room, as it was told last, and whether they are connected."""
        state = self.client.all(RoomState)[-1]
        return [(member.lang, member.connected) for member in state.members]


def yard(slots: int = 8, epoch: int = 1, **config: object) -> tuple[WorkerHarness, Node]:
    """A worker, and a node that does everything between English, Spanish and French.

    An `epoch` above 1: it has begun anew.
    """
    harness = yard_without_lanes(slots, epoch, **config)
    return harness, harness.open_lane(3)


def yard_without_lanes(slots: int = 8, epoch: int = 2, **config: object) -> WorkerHarness:
    """The same before its node has come to it: row 3 is there, its lane is not."""
    host = Host(Config(**config))  # type: ignore[arg-type]
    host.node(3, speech_class("en", "es", "fr"), slots=slots)
    host.publish(SECOND_NS)
    harness = WorkerHarness(host, epoch=epoch)
    harness.feed()
    return harness


def another_node(harness: WorkerHarness) -> Node:
    """A second node like the first one."""
    harness.host.node(4, harness.host.classes[0], slots=8)
    harness.host.publish(harness.now_ns)
    return harness.open_lane(4)


def talker(harness: WorkerHarness, session_id: str = "s-1", **init: object) -> Talker:
    """Somebody who speaks English and wants it in Spanish, if nothing else is said."""
    wanted = {"src_lang": "en", "tgt_lang": "es", **init}
    return Talker(harness.open_session(session_id, **wanted))


def tell(node: Node, job: Assign, stage: str, text: str, **meta: object) -> None:
    """A node says what a stage came to."""
    node.harness.receive(
        node.connection,
        NodePartial(
            job_id=job.job_id,
            epoch=node.harness.epoch,
            dispatch=job.dispatch,
            meta={"stage": stage, **meta},
        ),
        text.encode(),
    )


# ---- a client's core


def opened(**more: Any) -> ClientHarness:
    harness = ClientHarness(**more)
    harness.open()
    return harness


def say(harness: ClientHarness, utterance_id: str = "u", ticket: int = 7, **more: Any) -> list[Any]:
    message = Utterance(utterance_id=utterance_id, text="hello", **more)
    wish = UtteranceWished(handle=1, ticket=ticket, message=message, payload=b"")
    return harness.feed(wish)


def speak(harness: ClientHarness, *pieces: bytes, is_over: bool = True) -> list[Any]:
    first = AudioChunk(utterance_id="u", tgt_lang="es")
    commands = harness.feed(UtteranceWished(handle=1, ticket=7, message=first, payload=b""))
    for piece in pieces:
        commands += harness.feed(PieceSpoken(ticket=7, payload=piece, is_final=False))
    if is_over:
        commands += harness.feed(PieceSpoken(ticket=7, payload=b"", is_final=True))
    return commands


def becomes(harness: ClientHarness, *request_ids: str) -> list[Any]:
    jobs = UtteranceJobs(session_number=1, utterance_id="u", request_ids=[*request_ids])
    return harness.say(jobs)


def ends(commands: list[Any]) -> list[str | None]:
    return [end.error.code if end.error else None for end in of(commands, UtteranceEnded)]
