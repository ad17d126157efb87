"""A node of tests that seems to hear, translate and speak; as a program, so that it can be killed.

    python -m browser.speaking_node ADDRESS NODE_ID TGT GATE

It hears how long a sound is, translates by upper case, and speaks a beep, between English and TGT.
GATE is a file without which it does not finish what it has begun; "" for a node that does not wait.
"""

import asyncio
import sys
from functools import partial
from pathlib import Path

from supervised_service import wait_until

from pointsman import Job, Node, Reply
from pointsman.engines import audio

WAV, TEXT = "audio/wav", "text/plain"


async def work(job: Job, gate: Path | None = None) -> Reply:
    """Do one job; say so at once to whoever started the program."""
    print("working", flush=True)
    text, meta = job.text if job.content_type.startswith("text/") else "", dict[str, str]()
    if "asr" in job.services:
        sound = audio.read_wav(job.payload)
        text = meta["heard"] = f"{sound.duration_s:.1f} seconds of sound"
        await job.partial(text, meta={"stage": "asr"})
    if gate is not None:
        await asyncio.to_thread(wait_until, gate.exists, "the gate")
    if "nmt" in job.services:
        text = meta["translation"] = text.upper()
        await job.partial(text, meta={"stage": "nmt"})
    if "tts" in job.services:
        return Reply(audio.tone(duration_s=0.3), meta=meta, content_type=WAV)
    return Reply(text.encode(), meta=meta, content_type=TEXT)


async def serve(address: str, node_id: str, tgt: str, gate: Path | None) -> None:
    """Run until killed; says "ready" once the server calls the node so."""
    languages = ["en", tgt]
    node = Node(
        address,
        node_id=node_id,
        services=["asr", "nmt", "tts"],
        asr=languages,
        nmt=[("en", tgt), (tgt, "en")],
        tts=languages,
    )
    node.handler(partial(work, gate=gate))
    running = asyncio.create_task(node.run())
    await node.wait_ready()
    print("ready", flush=True)
    await running


if __name__ == "__main__":
    address, node_id, tgt, path = sys.argv[1:]
    asyncio.run(serve(address, node_id, tgt, Path(path) if path else None))
