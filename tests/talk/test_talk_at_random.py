"""People who talk at random, and what must hold whatever they do: all that is held is let go."""

from random import Random

import pytest
from talkers import SECOND_OF_SOUND, Talker, talker, tell, yard
from worker_harness import Node, WorkerHarness

from pointsman_wire.lane_messages import Assign, CancelJob
from pointsman_wire.session_messages import ResultAck, SessionClose
from pointsman_wire.talk.talk_messages import RoomLeave

SEEDS = range(8)
STEPS = 80
PIECE = SECOND_OF_SOUND[:8_000]  # a quarter of a second


class Evening:
    """Three people, one node, and somebody who rolls dice."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        slots = self.random.choice((1, 2, 8))
        self.harness, self.node = yard(slots=slots, epoch=self.random.choice((1, 2)))
        ways = {"mode": "two_way", "lang_a": "en", "lang_b": "es"}
        self.manner = {"hears": "es", **(ways if self.random.random() < 0.3 else {})}
        self.people = {f"s-{n}": talker(self.harness, f"s-{n}", **self.manner) for n in range(3)}
        self.seqs: dict[tuple[str, str], int] = {}
        self.running: dict[int, Assign] = {}
        self.cancelled: set[int] = set()

    def live(self) -> None:
        """A turn of somebody."""
        name, person = self.random.choice([*self.people.items()])
        act = self.random.choice(
            (
                self.speak,
                self.speak,
                self.speak,
                self.say,
                self.take_back,
                self.room,
                self.lose,
                self.work,
                self.wait,
            )
        )
        act(name, person)
        self.read()

    def speak(self, name: str, person: Talker) -> None:
        """Some more sound of an utterance, perhaps its end."""
        utterance_id = f"u-{self.random.randrange(4)}"
        for _ in range(self.random.randrange(1, 8)):
            seq = self.seqs.get((name, utterance_id), 0)
            self.seqs[name, utterance_id] = seq + 1
            person.speak(seq, PIECE, utterance_id, partials=self.random.random() < 0.8)
        if self.random.random() < 0.3:
            person.speak(seq + 1, b"", utterance_id, is_final=True)

    def say(self, name: str, person: Talker) -> None:
        """Some words, perhaps to somebody."""
        to = [self.random.choice([*self.people])] if self.random.random() < 0.5 else []
        tgt = self.random.choice(([], [], ["es", "fr"]))
        person.say("hello", f"w-{self.random.randrange(4)}", to=to, tgt_langs=tgt)

    def take_back(self, name: str, person: Talker) -> None:
        """Cancel an utterance by its own id, whatever it has become."""
        person.client.cancel(f"{self.random.choice('uw')}-{self.random.randrange(4)}")

    def room(self, name: str, person: Talker) -> None:
        """Come in or go out."""
        if self.random.random() < 0.7:
            person.enter("tea", self.random.choice(("en", "es")))
        else:
            self.harness.receive(person.client.connection, RoomLeave())

    def lose(self, name: str, person: Talker) -> None:
        """The session is closed or breaks off, and is there again."""
        if self.random.random() < 0.3:
            flush = self.random.random() < 0.5
            self.harness.receive(person.client.connection, SessionClose(flush=flush))
        person.client.hang_up()
        self.harness.advance(self.random.choice((0.0, 5.0, 40.0)))
        token = person.client.ack.resume_token
        client = self.harness.open_session(
            name, src_lang="en", tgt_lang="es", resume_token=token, **self.manner
        )
        self.people[name] = Talker(client)

    def work(self, name: str, person: Talker) -> None:
        """The node tells something, or ends something."""
        if not self.running:
            return
        job = self.random.choice([*self.running.values()])
        if self.random.random() < 0.4:
            tell(self.node, job, self.random.choice(("asr_partial", "asr", "nmt")), "word " * 3)
        else:
            self.end(job)

    def end(self, job: Assign) -> None:
        del self.running[job.dispatch]
        how = {"status": "failed", "code": "INTERNAL_ERROR"} if self.random.random() < 0.2 else {}
        self.node.end(job, b"words", **how)

    def wait(self, name: str, person: Talker) -> None:
        self.harness.advance(self.random.choice((0.05, 0.5, 4.0)))

    def read(self) -> None:
        """The node takes what it was given, and the clients what they were told."""
        for message, _ in self.harness.sent.pop(self.node.connection, []):
            if isinstance(message, Assign):
                self.running[message.dispatch] = message
                self.node.acknowledge(message.number)
            elif isinstance(message, CancelJob):
                self.cancelled.add(message.dispatch)
        for person in self.people.values():
            if results := person.results():
                ack = ResultAck(results=[(0, max(result.number for result in results))])
                self.harness.receive(person.client.connection, ack)

    def close(self) -> None:
        """Everybody goes home, and the node ends what it was given."""
        for person in self.people.values():
            self.harness.receive(person.client.connection, SessionClose(flush=False))
            person.client.hang_up()
        for _ in range(20):
            self.read()
            for job in [*self.running.values()]:
                self.end(job)
            self.harness.advance(5)


def left_over(harness: WorkerHarness, node: Node) -> dict[str, object]:
    """What is still held of anything."""
    shard, talk = harness.core.shard, harness.core._talk
    found = {
        "talks": shard.talks,
        "jobs": shard.open_job_count,
        "waiting": shard.waiting.count,
        "sound": talk.hearing.memory.held_bytes,
        "voices": talk.voices.by_session,
        "rooms": talk.rooms.rooms,
        "slots": harness.held(node.row),
    }
    return {name: what for name, what in found.items() if what}


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_people_do_all_that_is_held_is_let_go(seed: int) -> None:
    evening = Evening(seed)
    for _ in range(STEPS):
        evening.live()
    evening.close()
    assert left_over(evening.harness, evening.node) == {}
