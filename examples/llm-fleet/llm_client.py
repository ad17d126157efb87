"""Asks a fleet of language models; says which node answered, or why none could.

    python llm_client.py chat "Why is the sky blue?" --model tiny-8b
    python llm_client.py embed "one text" "another text"
    python llm_client.py rerank "green apples" "a red car" "an apple is green"

Exit codes: 0 answered, 3 no node could, 1 anything else that went wrong.
"""

import argparse
import asyncio
import json
import sys
from typing import Any

from pointsman import JobFailed, JobRefused, PointsmanError, connect
from pointsman_wire.messages import Breakdown


def request_of(service: str, texts: list[str]) -> dict[str, Any]:
    """Return the body of a request."""
    if service == "chat":
        return {"messages": [{"role": "user", "content": " ".join(texts)}]}
    if service == "embed":
        return {"input": texts}
    return {"query": texts[0], "documents": texts[1:]}


def labels_of(given: argparse.Namespace) -> dict[str, str]:
    """Return what the node must be."""
    labels = {"model": given.model} if given.model else {}
    if given.gpu_memory:
        labels[f"gpu-{given.gpu_memory}-gib"] = "yes"
    return labels


async def ask(given: argparse.Namespace) -> int:
    """Put one request; print the answer and where it came from."""
    body = json.dumps(request_of(given.service, given.texts))
    async with connect(given.server) as session:  # no languages: nothing here is about speech
        result = await session.submit(
            body,
            services=[given.service],
            features=given.feature,
            labels_required=labels_of(given),
            content_type="application/json",
            explain=True,
        )
    assert result.placement is not None
    print(result.text)
    print(f"from {result.node_id}, pool {result.placement.pool}", file=sys.stderr)
    return 0


def tell_why_not(breakdown: Breakdown) -> None:
    """Print node by node why nobody took the request."""
    for reason, nodes in sorted(breakdown.nodes.items()):
        print(f"  {reason}: {', '.join(nodes)}", file=sys.stderr)
    for miss in breakdown.nearest:
        print(f"  nearest: {miss.node_id}, which lacks {', '.join(miss.missing)}", file=sys.stderr)
    print(f"  what would help: {breakdown.fix}", file=sys.stderr)


def main() -> int:
    """Read the command line, ask, and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("service", choices=["chat", "embed", "rerank"])
    parser.add_argument("texts", nargs="+")
    parser.add_argument("--server", default="127.0.0.1:7400")
    parser.add_argument("--model", default="", help="only this model")
    parser.add_argument("--gpu-memory", type=int, help="at least so many GiB: 8, 16, 24, 48, 80")
    parser.add_argument("--feature", action="append", default=[], help="json_mode, tools, ...")
    given = parser.parse_args()
    try:
        return asyncio.run(ask(given))
    except (JobRefused, JobFailed) as error:
        print(f"{error.code}: {error.message}", file=sys.stderr)
        if error.breakdown is None:
            return 1
        tell_why_not(error.breakdown)
        return 3
    except PointsmanError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
