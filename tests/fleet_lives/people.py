"""People of a life: they come, ask, speak, cancel, listen, break off, and come back elsewhere."""

from collections import defaultdict
from collections.abc import Callable
from random import Random

from several import Several
from worker_harness import Client

from pointsman_wire.link import Closed
from pointsman_wire.messages import Message
from pointsman_wire.preamble import Role
from pointsman_wire.session_messages import (
    ClientHeartbeat,
    JobAccepted,
    MissingResult,
    Result,
    ResultAck,
    SessionClose,
    SessionClosed,
    SessionInit,
    SessionInitAck,
)
from pointsman_wire.talk.talk_messages import AudioChunk, RoomJoin, RoomLeave, Utterance

SESSIONS = tuple(f"s-{number}" for number in range(7))
REQUESTS = tuple(f"r-{number}" for number in range(12))
UTTERANCES = tuple(f"u-{number}" for number in range(5))
NODE_IDS = tuple(f"node-{row}" for row in range(3, 8))
SOUND = b"\x01\x02" * 4_000  # a quarter of a second
OPTIONS: dict[str, tuple[float, tuple[object, ...]]] = {
    "priority": (0.3, ("bulk", "interactive", "system")),
    "durability": (0.3, ("memory", "journal", "fsync", "redis")),
    "timeout_s": (0.2, (0.5, 3_600.0)),
    "deadline_s": (0.2, (0.2, 2.0, 60.0)),
    "wait_busy_s": (0.2, (0.0, 1.0, 30.0)),
    "idempotent": (0.5, (True,)),
    "stream": (0.3, (True,)),
    "explain": (0.3, (True,)),
    "preferred_node": (0.2, NODE_IDS),
    "exclude": (0.1, tuple([node_id] for node_id in NODE_IDS)),
    "utterance_index": (0.3, tuple(range(6))),
    "services": (0.3, ([], ["asr", "nmt"], ["asr", "nmt", "tts"])),
    "tgt_lang": (0.1, ("fr",)),
}
# Orders and tenants of sessions.
MANY_KINDS = ("free", "free", "utterance", "serial"), ("", "t1", "t2")
ONE_BY_ONE = ("serial", "serial", "serial", "free"), ("",)


class Person:
    """A client, and what it was told."""

    def __init__(self, name: str, client: Client) -> None:
        self.name = name  # of the instance
        self.client = client
        self.promised: set[str] = set()
        self.given: set[str] = set()
        self.last_number = 0
        self.is_over = False  # its session was closed, or somebody else has it
        self.has_missed = False  # an utterance was passed over: its result may never come

    @property
    def session_id(self) -> str:
        """Of its session."""
        return self.client.ack.session_id

    def says(self, message: Message, payload: bytes = b"") -> None:
        """Send a message."""
        self.client.harness.receive(self.client.connection, message, payload)

    def hear(self) -> None:
        """Note what was told."""
        client = self.client
        for message, _ in client.harness.sent.pop(client.connection, []):
            if isinstance(message, JobAccepted):
                self.promised |= {job.request_id for job in message.jobs}
            elif isinstance(message, Result):
                self.given.add(message.request_id)
                self.last_number = max(self.last_number, message.number)
            elif isinstance(message, MissingResult):
                self.last_number = max(self.last_number, message.number)
                self.has_missed = True
            elif isinstance(message, SessionClosed):
                self.is_over = True


class People:
    """All of them."""

    def __init__(self, dice: Random, fleet: Several, note: Callable[..., None]) -> None:
        self._dice = dice
        self._fleet = fleet
        self._note = note
        self.present: list[Person] = []
        self._known: dict[str, tuple[str, dict[str, object]]] = {}  # by session: token, wishes
        self._count = 0
        # In some lives most have much to wait for, and sessions of one id come again and again.
        self._orders, self._tenants = dice.choice((*[MANY_KINDS] * 3, ONE_BY_ONE))

    def acts(self) -> dict[Callable[[], None], float]:
        """What they do, and how often."""
        return {
            self.join: 5,
            self.submit: 40,
            self.cancel: 2,
            self.acknowledge: 4,
            self.talk: 12,
            self.close: 4 if self._orders == ONE_BY_ONE[0] else 1,
            self.hang_up: 2,
        }

    def hear(self) -> None:
        """Everybody notes what they were told; those whose session is over are gone."""
        for person in self.present:
            person.hear()
        self.present = [p for p in self.present if not p.is_over and self._is_there(p)]

    def beat(self) -> None:
        """Most are heard of in time."""
        for person in [*self.present]:
            if self._dice.random() < 0.9:
                person.says(ClientHeartbeat())

    def _is_there(self, person: Person) -> bool:
        harness = person.client.harness
        lives = any(worker is harness for worker in self._fleet.everybody())
        return lives and person.client.connection not in harness.closed

    def _anybody(self) -> Person | None:
        self.hear()
        return self._dice.choice(self.present) if self.present else None

    def join(self) -> None:
        """Somebody comes, or comes back, perhaps elsewhere, perhaps with a wrong token."""
        dice = self._dice
        instance = dice.choice(self._fleet.everybody())
        session_id, wishes, token = self._newcomer(), self._wishes(), ""
        if self._known and dice.random() < 0.5:
            session_id = dice.choice([*self._known])
            token, wishes = self._known[session_id]
            token = "bad" if dice.random() < 0.1 else token
        self._note("join", instance.name, session_id, wishes, token)
        connection = instance.dial(Role.SESSION)
        init = SessionInit(session_id=session_id, resume_token=token, **wishes)  # type: ignore[arg-type]
        instance.receive(connection, init)
        self._fleet.carry()
        answers = instance.take(connection, SessionInitAck)
        if not answers:
            instance.feed(Closed(connection))
            return
        person = Person(instance.name, Client(instance, connection, answers[0]))
        self._known[person.session_id] = answers[0].resume_token, wishes
        self.present.append(person)

    def _newcomer(self) -> str:
        self._count += 1
        return SESSIONS[self._count % len(SESSIONS)]

    def _wishes(self) -> dict[str, object]:
        dice = self._dice
        wishes: dict[str, object] = {
            "order": dice.choice(self._orders),
            "tenant": dice.choice(self._tenants),
            "src_lang": dice.choice(("en", "es")),
            "tgt_lang": dice.choice(("es", "fr")),
            "hears": dice.choice(("", "es", "en")),
        }
        if dice.random() < 0.5:
            wishes |= {"mode": "two_way", "lang_a": "en", "lang_b": "es"}
        if dice.random() < 0.2:
            wishes["room"] = "tea"
        return wishes

    def submit(self) -> None:
        """Somebody asks for something, or once more."""
        person, dice = self._anybody(), self._dice
        if person is None:
            return
        asked = {
            name: dice.choice(values)
            for name, (share, values) in OPTIONS.items()
            if dice.random() < share
        }
        request_id = dice.choice(REQUESTS)
        self._note("submit", person.name, person.session_id, request_id, asked)
        person.client.submit(request_id, b"x" * dice.choice((5, 5, 2_000)), **asked)

    def cancel(self) -> None:
        """Somebody does not want something any more."""
        if (person := self._anybody()) is not None:
            request_id = self._dice.choice((*REQUESTS, *UTTERANCES))
            self._note("cancel", person.name, person.session_id, request_id)
            person.client.cancel(request_id)

    def acknowledge(self) -> None:
        """Somebody says what they have read."""
        if (person := self._anybody()) is not None and person.last_number:
            number = person.client.ack.session_number
            self._note("acknowledge", person.name, person.session_id, person.last_number)
            person.says(ResultAck(results=[(number, person.last_number)]))

    def talk(self) -> None:
        """Somebody speaks, says something, or changes rooms."""
        person, dice = self._anybody(), self._dice
        if person is None:
            return
        number = person.client.ack.session_number
        said: dict[str, object] = {
            "session_number": number,
            "utterance_id": dice.choice(UTTERANCES),
            "to": [dice.choice(SESSIONS)] if dice.random() < 0.3 else [],
            "tgt_langs": dice.choice(([], [], ["es"], ["es", "fr"])),
        }
        payload = b""
        message: Message
        match dice.choices(("sound", "words", "join", "leave"), (60, 20, 13, 7))[0]:
            case "sound":
                payload = SOUND * dice.randrange(3)
                said |= {"seq": dice.randrange(3), "is_final": dice.random() < 0.4}
                said |= {"partials": dice.random() < 0.5}
                message = AudioChunk(services=dice.choice(([], ["asr", "nmt"])), **said)  # type: ignore[arg-type]
            case "words":
                message = Utterance(text="hello", **said)  # type: ignore[arg-type]
            case "join":
                room, lang = dice.choice(("tea", "milk")), dice.choice(("en", "es"))
                message = RoomJoin(session_number=number, room=room, lang=lang)
            case _:
                message = RoomLeave(session_number=number)
        self._note("talk", person.name, person.session_id, message)
        person.says(message, payload)

    def close(self) -> None:
        """Somebody is done."""
        if (person := self._anybody()) is not None:
            flush = self._dice.random() < 0.5
            self._note("close", person.name, person.session_id, flush)
            number = person.client.ack.session_number
            person.says(SessionClose(session_number=number, flush=flush))

    def hang_up(self) -> None:
        """Somebody's connection breaks."""
        if (person := self._anybody()) is not None:
            self._note("hang up", person.name, person.session_id)
            person.client.hang_up()
            self.present.remove(person)

    def waiting_in_vain(self) -> dict[tuple[str, str], list[str]]:
        """Who was promised what and did not get it, by instance and session."""
        self.hear()
        missed: dict[tuple[str, str], list[str]] = defaultdict(list)
        for person in self.present:
            if not person.has_missed:
                missed[person.name, person.session_id] += person.promised - person.given
        return {whose: what for whose, what in missed.items() if what}
