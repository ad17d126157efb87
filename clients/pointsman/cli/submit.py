"""`submit`: one job from the command line, and what became of it."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import typer

from pointsman.cli.endings import FAILED, USAGE, Commands, Trouble
from pointsman.cli.options import (
    Ca,
    DurabilityLevel,
    Idempotent,
    InputFile,
    InputText,
    Json,
    OrderName,
    OutputFile,
    Pin,
    PriorityClass,
    PriorityName,
    RequestId,
    Server,
    Services,
    SessionOrder,
    Source,
    Target,
    Timeout,
    TokenFile,
    Wait,
)
from pointsman.cli.placement_words import (
    nearest_words,
    node_reason,
    pool_reason,
    refusal_rows,
    time_words,
)
from pointsman.cli.screen import complete, err, error_page, facts, say_json, show, table
from pointsman.cli.submitting import (
    Ended,
    Wanted,
    exit_code_of,
    payload_of,
    session_id_of,
    submit_in,
    usual_services,
)
from pointsman.cli.tokens.given import given_token
from pointsman.cli.words import DEFAULT_SERVER, checked_address, listed
from pointsman.errors import JobRefused, PointsmanError, Unreachable
from pointsman.options import ConnectOptions
from pointsman.session import connect
from pointsman_wire.sockets.tcp import OTHER_KEY

app = typer.Typer(cls=Commands)

TEXT_BESIDE_FILE_MAX = 400  # characters that are shown of what is in a file as well
HELD_IN = {
    "memory": "memory: it dies with its worker",
    "journal": "the journal: survives kill -9 of every process",
    "fsync": "the synced journal: survives a loss of power as well",
    "redis": "Redis: survives the loss of the instance, another one runs it",
}
# In the words of who could not be reached: a certificate that is not believed, no TLS, TLS alone.
VERIFY_FAILED = "CERTIFICATE_VERIFY_FAILED"
NO_TLS = "it speaks no TLS"
ENDED_BY_PEER = "the peer ended the connection"
CONNECT_S = 3.0  # a service that restarts is back by then; longer, people think it hangs


@app.command()
def submit(
    *,
    src: Source = "",
    tgt: Target = "",
    file: InputFile = None,
    text: InputText = None,
    out: OutputFile = None,
    services: Services = None,
    server: Server = DEFAULT_SERVER,
    request_id: RequestId = "",
    order: SessionOrder = OrderName.FREE,
    durability: DurabilityLevel = None,
    priority: PriorityClass = PriorityName.DEFAULT,
    idempotent: Idempotent = False,
    timeout: Timeout = None,
    wait: Wait = None,
    token_file: TokenFile = None,
    pin: Pin = "",
    ca: Ca = None,
    as_json: Json = False,
) -> None:
    """Have one job done: a sound or a text goes in, its translation comes out.

    Prints what was heard, the translation, which node and pool took it and
    why, and how long that took.  Exit code 3: no node took the job.
    """
    payload, content_type = payload_of(file, text)
    wanted = Wanted(
        payload=payload,
        content_type=content_type,
        services=listed(services) or usual_services(content_type, out),
        src=src,
        tgt=tgt,
        request_id=request_id,
        order=order.value,
        durability=durability.value if durability else None,
        priority=priority.value,
        idempotent=idempotent,
        timeout_s=timeout,
        wait_busy_s=wait,
        wait_none_s=wait,
    )
    try:
        entrance = ConnectOptions(token=given_token(token_file), pin=pin, ca=ca)
        ended = asyncio.run(_have_done(checked_address(server), wanted, entrance))
    except (OSError, ValueError) as error:
        raise Trouble(str(error), code=USAGE) from None
    except PointsmanError as error:
        raise typer.Exit(_tell_refusal(error, server, as_json=as_json)) from None
    _tell(ended, out, as_json=as_json)


async def _have_done(server: str, wanted: Wanted, entrance: ConnectOptions) -> Ended:
    waiting = err.status("waiting for the result") if err.is_terminal else None
    if waiting:
        waiting.start()
    try:
        async with connect(
            server,
            src=wanted.src,
            tgt=wanted.tgt,
            session_id=session_id_of(wanted.request_id),
            order=wanted.order,
            connect_timeout_s=CONNECT_S,
            token=entrance["token"],
            pin=entrance["pin"],
            ca=entrance["ca"],
        ) as session:
            return await submit_in(session, wanted)
    finally:
        if waiting:
            waiting.stop()


def _tell(ended: Ended, out: Path | None, *, as_json: bool) -> None:
    if out is not None:
        _write(out, ended.result.payload)
    if as_json:
        data = ended.as_data()
        say_json({**data, "text": shown_text(ended, out), "out": str(out) if out else ""})
    else:
        facts(what_came(ended, out))


def _write(out: Path, payload: bytes) -> None:
    try:
        out.write_bytes(payload)
    except OSError as error:
        raise Trouble(f"cannot write {out}: {error.strerror}", code=FAILED) from None


def shown_text(ended: Ended, out: Path | None) -> str:
    """Return the output if it is text, unless it is long and kept in a file."""
    return "" if out and len(ended.text) > TEXT_BESIDE_FILE_MAX else ended.text


def what_came(ended: Ended, out: Path | None) -> Sequence[tuple[str, str]]:
    """Return the facts about a job that ended well."""
    result, placement = ended.result, ended.result.placement
    size = f"{len(result.payload):,} bytes"
    said_before = ended.text in (ended.translation, ended.heard)
    where = f"{out}, {size}" if out else ""
    kept = (
        ""
        if out or ended.text or not result.payload
        else f"{size} of {result.content_type or 'data'}: keep it with --out"
    )
    failovers = f", after {result.failovers} failover(s)" if result.failovers else ""
    return [
        ("heard", ended.heard),
        ("translation", ended.translation),
        ("result", "" if said_before else shown_text(ended, out)),
        ("written", where),
        ("not written", kept),
        ("status", "" if result.status == "completed" else result.status.replace("_", " ")),
        ("node", f"{result.node_id}, attempt {result.attempt}{failovers}"),
        ("pool", pool_reason(placement) if placement else ""),
        ("why", node_reason(placement) if placement else ""),
        ("took", time_words(ended)),
        ("held in", HELD_IN.get(result.durability, result.durability)),
        ("request", result.request_id),
    ]


def _tell_refusal(error: PointsmanError, server: str, *, as_json: bool) -> int:
    """Say why there is no result; return the exit code."""
    if as_json:
        say_json({"error": complete(error.info)})
    else:
        show_refusal(error, server)
    return exit_code_of(error)


def show_refusal(error: PointsmanError, server: str) -> None:
    """Say on standard error why there is no result, node by node, and what to do."""
    breakdown = error.breakdown
    what = "refused" if isinstance(error, JobRefused) else "failed"
    facts([(what, f"{error.code}: {error.message}")], on=err)
    # Each begins with its number, which the label says.
    told = [(f"attempt {number}", why) for number, why in enumerate(error.attempts, 1)]
    facts([(name, why.removeprefix(name).lstrip()) for name, why in told], on=err)
    if breakdown and breakdown.counts:
        heads = ["nodes", "reason", "which"]
        show(table(heads, refusal_rows(breakdown), numbers=["nodes"]), on=err)
        facts([("nearest", nearest_words(breakdown))], on=err)
    todo = (breakdown and breakdown.fix) or error.hint
    if isinstance(error, Unreachable):
        todo = _reaching_hint(error.message, server)
    facts([("what to do", todo)], on=err)
    if error.retry_after_ms:
        facts([("try again", f"in {error.retry_after_ms / 1000:g} s")], on=err)
    facts([("see", error_page(error.code))], on=err)


def _reaching_hint(message: str, server: str) -> str:
    """Return what to do when nobody was reached: somebody who answers otherwise is a way in."""
    if OTHER_KEY in message:
        return "compare --pin with the ready line of `pointsman serve`, or with `pointsman enrol`"
    if VERIFY_FAILED in message:
        return "add --pin sha256:..., from the ready line of `pointsman serve`, or --ca FILE"
    if NO_TLS in message:
        return "the ready line of `pointsman serve` names both ports"
    if ENDED_BY_PEER in message and "://" not in server:
        return f"if that is the TLS port: --server tls://{server}"
    return f"is a service running at {server}? `pointsman serve` starts one"
