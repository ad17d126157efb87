"""`node`: a machine offers what it can do, from engines, a function or a program."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TextIO

import typer

from pointsman.cli.endings import FAILED, USAGE, Commands, FirstOfTwo, Trouble
from pointsman.cli.offers import (
    Offer,
    Wish,
    engines_offer,
    function_offer,
    language_words,
    program_offer,
)
from pointsman.cli.options import (
    Asr,
    Ca,
    Engines,
    EnrolledPool,
    Enrolment,
    Function,
    History,
    Label,
    MaxConcurrency,
    Nmt,
    NodeId,
    NodeStateDir,
    Pin,
    Program,
    ProgramUserName,
    ReportLoad,
    Server,
    Services,
    TokenFile,
    Tts,
)
from pointsman.cli.owner_policy import PauseFiles, PauseWhenCpu, QuietHourWindows, owner_policy
from pointsman.cli.screen import err, facts, say, tell_trouble
from pointsman.cli.tokens.given import given_token
from pointsman.cli.words import DEFAULT_SERVER, checked_address, labels, language_pairs, listed
from pointsman.errors import HandlerUnstoppable, NodeRefused
from pointsman.node import Node
from pointsman.node_store import NodeStateError
from pointsman.options import NodeOptions

app = typer.Typer(cls=Commands)

LANGUAGES_SHOWN = 8
USUAL_JOBS = 4


@app.command(cls=FirstOfTwo)
def node(
    *,
    server: Server = DEFAULT_SERVER,
    engines: Engines = None,
    handler: Function = None,
    program: Program = None,
    exec_user: ProgramUserName = "",
    services: Services = None,
    asr: Asr = None,
    nmt: Nmt = None,
    tts: Tts = None,
    node_id: NodeId = "",
    max_concurrency: MaxConcurrency = None,
    label: Label = None,
    report_load: ReportLoad = True,
    pause_when_cpu: PauseWhenCpu = None,
    quiet_hours: QuietHourWindows = None,
    pause_file: PauseFiles = None,
    state_dir: NodeStateDir = None,
    token_file: TokenFile = None,
    pin: Pin = "",
    ca: Ca = None,
    enrol: Enrolment = "",
    pool: EnrolledPool = "",
    history: History = None,
) -> None:
    """Offer what this machine can do: name one of --engines, --handler and --exec.

    A program ends with exit code 0 when its output is the result; any other
    fails the job with the last line of its standard error (75: another node
    may try).  It is killed when the job is cancelled.

    While it pauses, at its owner's wish, or drains, after SIGTERM or Ctrl-C,
    running jobs go on and no new ones come; a second Ctrl-C leaves at once.
    """
    done = listed(services)
    wish = Wish(services=done, asr=listed(asr), nmt=language_pairs(nmt), tts=listed(tts))
    address = checked_address(server)
    personal = NodeOptions(
        node_id=node_id,
        labels=labels(label),
        max_concurrency=max_concurrency or usual_concurrency(is_engine=engines is not None),
        owner_policy=owner_policy(pause_when_cpu, quiet_hours, pause_file),
        state_dir=state_dir or usual_state_dir(node_id, address),
        report_load=report_load,
        token=given_token(token_file),
        history=history,
    )
    offer = _offer_of(wish, engines=engines, handler=handler, program=program, exec_user=exec_user)
    _begin(address, offer, {**personal, **proofs(pin, ca, enrol, pool)})


def proofs(pin: str, ca: Path | None, enrol: str, pool: str) -> NodeOptions:
    """Return these options; asks for an introduction that is given as "-"."""
    if enrol == "-":
        enrol = asked_introduction()
    return NodeOptions(pin=pin, ca=ca, enrol=enrol, pool=pool)


def asked_introduction() -> str:
    """Ask for an introduction, so that it does not stand in the list of processes."""
    given = ""
    if not sys.stdin.isatty():
        given = sys.stdin.readline().strip()
    else:
        with contextlib.suppress(typer.Abort):
            given = str(typer.prompt("introduction", hide_input=True, err=True))
    if not given:
        err.print()
        raise Trouble(
            "no introduction was given",
            todo="`pointsman enrol` at the service prints one",
            code=USAGE,
        )
    return given


def _begin(address: str, offer: Offer, personal: NodeOptions) -> None:
    _write_no_cores()
    made = _made(address, offer, personal)
    _show_offer(offer)
    asyncio.run(_serve(made, offer))


def _write_no_cores() -> None:
    """Leave no core file: it would hold the node's key, its token and what users sent."""
    if sys.platform != "win32":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def _made(address: str, offer: Offer, personal: NodeOptions) -> Node:
    """Return the node.  Raises Trouble for options out of bounds."""
    options: NodeOptions = {
        **personal,
        "services": offer.services,
        "asr": offer.asr,
        "nmt": offer.nmt,
        "tts": offer.tts,
    }
    try:
        made = Node(address, **options)
    except (OSError, ValueError) as error:
        raise Trouble(str(error), code=USAGE) from None
    made.handler(offer.handler)
    return made


def usual_concurrency(*, is_engine: bool) -> int:
    """Return how many jobs at a time: engines keep a processor busy, others mostly wait."""
    return min(USUAL_JOBS, os.cpu_count() or 1) if is_engine else USUAL_JOBS


def _offer_of(
    wish: Wish, *, engines: str | None, handler: str | None, program: str | None, exec_user: str
) -> Offer:
    if [engines, handler, program].count(None) != 2:
        raise Trouble(
            "what shall do the jobs? name one of --engines, --handler and --exec",
            todo="the speech engines come along: pointsman node --engines speech",
            code=USAGE,
        )
    if exec_user and program is None:
        raise Trouble("--exec-user is for --exec: a function runs inside the node", code=USAGE)
    if engines is not None:
        return engines_offer(engines, wish)
    if handler is not None:
        return function_offer(handler, wish)
    assert program is not None
    return program_offer(program, wish, user=exec_user)


def usual_state_dir(node_id: str, address: str) -> Path | None:
    """Return where a node with a name keeps the key that proves it, one for each server.

    A node without a name gets a new one each time, so it has nothing to keep.
    """
    if not node_id:
        return None
    base = os.environ.get("XDG_STATE_HOME") or os.environ.get("LOCALAPPDATA")
    folder = Path(base) if base else Path.home() / ".local" / "state"
    name = f"{node_id}@{address.removeprefix('tls://')}".replace(":", "-")
    return folder / "pointsman" / "nodes" / name


async def _serve(made: Node, offer: Offer) -> None:
    """Serve until drained.  Raises Trouble when the server or the disk does not let it."""
    chatter = Chatter()
    await offer.load()
    _drain_on_interrupt(made)
    telling = asyncio.create_task(_tell_when_ready(made, chatter))
    try:
        await made.run()
    except NodeRefused as error:
        raise Trouble(
            f"the server refuses this node: {error.code}: {error.message}",
            todo=error.hint,
            error_code=error.code,
        ) from None
    except (ModuleNotFoundError, NodeStateError) as error:
        raise Trouble(str(error)) from None
    except HandlerUnstoppable as error:
        tell_trouble(str(error))
        os._exit(FAILED)  # the usual end would wait for the handler
    finally:
        telling.cancel()
    say(f"pointsman node {made.node_id or '(new)'} has left")


async def _tell_when_ready(made: Node, chatter: "Chatter") -> None:
    """Print the one line that says that jobs may come; from then on changes are told."""
    await made.wait_ready()
    say(
        f"pointsman node ready: {made.node_id} at {made.address}, "
        f"up to {made.max_concurrency} jobs at a time"
    )
    chatter.was_ready = True


def _drain_on_interrupt(made: Node) -> None:
    """Ctrl-C drains, as SIGTERM does; where signals cannot be taken it interrupts."""
    drains: set[asyncio.Task[None]] = set()

    def drain() -> None:
        say("draining: running jobs end, no new ones are taken; Ctrl-C again leaves at once")
        drains.add(asyncio.create_task(made.drain()))

    try:
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, drain)
    except NotImplementedError:
        return  # Windows: KeyboardInterrupt ends run(), which tells the server


class Chatter(logging.StreamHandler[TextIO]):
    """Tells warnings and changes of state on standard error.

    Of the way to the first ready only what is in the way is told: the rest is one line elsewhere.
    """

    def __init__(self) -> None:
        super().__init__()
        self.was_ready = False
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        logger = logging.getLogger("pointsman")
        logger.addHandler(self)
        logger.setLevel(logging.INFO)

    def filter(self, record: logging.LogRecord) -> bool:
        """Is this news?"""
        is_in_the_way = record.levelno > logging.INFO or "connecting" in record.getMessage()
        return self.was_ready or is_in_the_way


def _show_offer(offer: Offer) -> None:
    languages = {
        "asr": offer.asr,
        "nmt": [language_words(pair) for pair in offer.nmt],
        "tts": offer.tts,
    }
    facts(
        (f"offers {service}", short_list(languages.get(service, []))) for service in offer.services
    )
    facts((f"no {service}", why) for service, why in offer.missing.items())


def short_list(words: list[str]) -> str:
    """Return words with commas; of many the first and how many more."""
    if len(words) <= LANGUAGES_SHOWN + 2:
        return ", ".join(words) or "any"
    return f"{', '.join(words[:LANGUAGES_SHOWN])} and {len(words) - LANGUAGES_SHOWN} more"
