"""People who lose their connection while they speak, in a fleet of several instances."""

from several import Several

from pointsman_shm.config import TalkConfig
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
