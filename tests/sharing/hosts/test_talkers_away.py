"""People who lose their connection, or leave, while they speak, in a fleet of several instances."""

from fleet_harness import SESSION, Fleet
from several import Several
from talkers import Talker, talker

from pointsman_shm.config import TalkConfig
from pointsman_wire.session_messages import SessionClose
from pointsman_wire.talk.talk_messages import AudioChunk

SECOND_OF_SOUND = b"\x01\x02" * 16_000


def test_what_was_spoken_by_who_has_gone_is_said_where_nodes_of_others_are_known() -> None:
    """The acceptance is for nobody: it must not be taken for a frame to another's node."""
    instances = Several("A", "B", talk=TalkConfig(silence_s=1.0))
    instances.node(3, "A")
    instances.node(5, "B")
    borrower = instances["B"]
    client = borrower.open_session("s-1", src_lang="en", tgt_lang="es")
    piece = AudioChunk(utterance_id="u-1", seq=0, services=["nmt"])
    borrower.receive(client.connection, piece, SECOND_OF_SOUND)
    client.hang_up()
    instances.run(2.0)
    nodes = instances["A"].node(3), borrower.node(5)
    (job,) = [job for node in nodes for job in node.assignments()]
    assert (job.request_id, job.session_id) == ("u-1", "s-1")


def spoken_while_redis_is_asked(fleet: Fleet) -> Talker:
    """Somebody has said something of which Redis has not been heard yet."""
    a = fleet["a"]
    a.open_lane(3)
    ann = talker(a, SESSION)
    a.is_held = True
    ann.say("hello")
    assert a.core.shard.talks
    return ann


def test_what_is_refused_once_who_said_it_has_another_connection_is_forgotten() -> None:
    """Else it counted among the open utterances of the session for as long as that lasts."""
    fleet = Fleet("a")
    a = fleet["a"]
    ann = spoken_while_redis_is_asked(fleet)
    talker(a, SESSION, resume_token=ann.client.ack.resume_token)
    a.is_cut = True
    a.let_go()
    assert not a.core.shard.talks


def test_what_redis_grants_once_who_said_it_has_closed_the_session_is_forgotten() -> None:
    fleet = Fleet("a")
    a = fleet["a"]
    ann = spoken_while_redis_is_asked(fleet)
    a.receive(ann.client.connection, SessionClose(flush=False))
    a.let_go()
    assert not a.core.shard.talks
