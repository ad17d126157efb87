"""A node that serves a language model, or rather pretends to: the model is a few lines of Python.

    python llm_node.py --node-id gpu-a --model tiny-8b --gpu-memory 24 --services chat

Which model it has, and how much memory, are labels: a request may require them.  Labels are
compared for equality, so the node carries one for each size that it has room for.
"""

import argparse
import asyncio
import hashlib
import json
from typing import Any

from pointsman import Hardware, Job, JobError, Node, Reply, Service

GPU_SIZES_GIB = (8, 16, 24, 48, 80)
DIMENSIONS = 8


async def chat(job: Job, request: dict[str, Any]) -> Reply:
    """Answer a conversation, word by word where somebody listens."""
    question = str(request["messages"][-1]["content"])
    words = f"You asked: {question} I have no opinion on that.".split()
    for word in words:
        await job.partial(word + " ")
    content: Any = " ".join(words)
    if "json_mode" in job.features:
        content = {"answer": content, "words": len(words)}
    return answer({"role": "assistant", "content": content})


async def embed(job: Job, request: dict[str, Any]) -> Reply:
    """Turn texts into vectors: the same text, the same vector."""
    digests = [hashlib.sha256(str(text).encode()).digest() for text in request["input"]]
    return answer({"vectors": [[byte / 255 for byte in d[:DIMENSIONS]] for d in digests]})


async def rerank(job: Job, request: dict[str, Any]) -> Reply:
    """Order documents by how many words they share with the query."""
    wanted = set(str(request["query"]).lower().split())
    scores = [len(wanted & set(str(text).lower().split())) for text in request["documents"]]
    order = sorted(range(len(scores)), key=lambda index: (-scores[index], index))
    return answer({"order": order, "scores": [scores[index] for index in order]})


def answer(data: dict[str, Any]) -> Reply:
    """Return data as the output of a job."""
    return Reply(json.dumps(data), content_type="application/json")


SERVICES = {"chat": chat, "embed": embed, "rerank": rerank}


async def handle(job: Job) -> Reply:
    """Run what the job asks for; of several services the first is the one that answers."""
    try:
        return await SERVICES[job.services[0]](job, json.loads(job.payload))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise JobError("BAD_REQUEST", f"not a request: {error!r}", retryable=False) from None


def make_node(given: argparse.Namespace) -> Node:
    """Return the node that was asked for."""
    sizes = [size for size in GPU_SIZES_GIB if size <= given.gpu_memory]
    node = Node(
        given.server,
        node_id=given.node_id,
        services=[
            Service(id=f"{kind}-1", kind=kind, device="gpu", model=given.model)
            for kind in given.services.split(",")
        ],
        features=[feature for feature in given.features.split(",") if feature],
        labels={"model": given.model, **{f"gpu-{size}-gib": "yes" for size in sizes}},
        hardware=Hardware(gpus=["pretended"], gpu_memory_mib=1024 * given.gpu_memory),
        max_concurrency=given.slots,
    )
    node.handler(handle)
    return node


async def serve(node: Node) -> None:
    """Run until told to stop; say when jobs may come."""
    running = asyncio.create_task(node.run())
    ready = asyncio.create_task(node.wait_ready())
    await asyncio.wait((running, ready), return_when=asyncio.FIRST_COMPLETED)
    if ready.done() and ready.exception() is None:
        labels = ", ".join(f"{key}={value}" for key, value in node.labels.items())
        print(f"{node.node_id} serves {labels}", flush=True)
    await running


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", default="127.0.0.1:7400")
    parser.add_argument("--node-id", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--gpu-memory", type=int, default=24, help="GiB")
    parser.add_argument("--services", default="chat", help="chat,embed,rerank")
    parser.add_argument("--features", default="", help="json_mode,tools,retrieval")
    parser.add_argument("--slots", type=int, default=2)
    asyncio.run(serve(make_node(parser.parse_args())))


if __name__ == "__main__":
    main()
