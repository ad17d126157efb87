"""Options that several commands share, and the longer ones: what they are called and say."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pointsman.cli.words import (
    checked_language,
    checked_languages,
    checked_node_id,
    checked_output,
)

Server = Annotated[str, typer.Option(help="HOST:PORT of the service.")]
TokenFile = Annotated[
    Path | None,
    typer.Option(help="File with your token; else POINTSMAN_TOKEN has it.", resolve_path=True),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Limit = Annotated[int, typer.Option(min=1, help="Show at most so many lines.")]
Instance = Annotated[str, typer.Option(help="The name that `serve` was given.")]
RuntimeDir = Annotated[
    Path | None,
    typer.Option(help="Where the service has its sockets.", resolve_path=True),
]
StateDir = Annotated[
    Path | None, typer.Option(help="Where the service keeps its state.", resolve_path=True)
]
ConfigPath = Annotated[
    Path | None, typer.Option(help="Configuration file (TOML).", resolve_path=True)
]
InsecurePlaintext = Annotated[
    bool, typer.Option("--insecure-plaintext", help="Open to the network, without TLS.")
]

Services = Annotated[
    list[str] | None, typer.Option(help="What is done, such as asr,nmt.", metavar="LIST")
]

# ---- of a job

Source = Annotated[
    str, typer.Option(callback=checked_language, help="Language of the input; auto is allowed.")
]
Target = Annotated[str, typer.Option(callback=checked_language, help="Language of the output.")]
InputFile = Annotated[
    Path | None, typer.Option(help="Input file: a WAV, a text; - is standard input.")
]
InputText = Annotated[str | None, typer.Option(help="Input text.")]
OutputFile = Annotated[
    Path | None, typer.Option(callback=checked_output, help="Where the output is written.")
]
RequestId = Annotated[
    str, typer.Option(help="The same id again gets the same job, not a second one.")
]
Timeout = Annotated[
    float | None, typer.Option(min=0.001, max=86_400, help="Give up after so many seconds.")
]
Wait = Annotated[
    float | None, typer.Option(min=0, max=3600, help="Seconds to wait for a free node.")
]


class OrderName(StrEnum):
    """The orders of a session, as the command line offers them."""

    FREE = "free"
    UTTERANCE = "utterance"
    SERIAL = "serial"


SessionOrder = Annotated[
    OrderName, typer.Option("--order", help="How jobs of one session follow each other.")
]


class DurabilityName(StrEnum):
    """What an accepted job survives, as the command line offers it."""

    MEMORY = "memory"
    JOURNAL = "journal"
    FSYNC = "fsync"
    REDIS = "redis"


DurabilityLevel = Annotated[
    DurabilityName | None,
    typer.Option(
        "--durability", help="How safely it is held; journal, if the service says no other."
    ),
]


class PriorityName(StrEnum):
    """The classes of waiting jobs, the first served first."""

    SYSTEM = "system"
    INTERACTIVE = "interactive"
    DEFAULT = "default"
    BULK = "bulk"


PriorityClass = Annotated[
    PriorityName, typer.Option("--priority", help="Who is served first when jobs wait.")
]
Idempotent = Annotated[
    bool, typer.Option("--idempotent", help="It may run twice: a slow one can be hedged.")
]

# ---- of a node

Engines = Annotated[
    str | None, typer.Option(help="Engines that come along: speech.", metavar="NAME")
]
Function = Annotated[
    str | None,
    typer.Option(
        "--handler", help="A Python function that does the jobs.", metavar="MODULE:FUNCTION"
    ),
]
Program = Annotated[
    str | None,
    typer.Option(
        "--exec", help="A program: job on standard input, result from output.", metavar="COMMAND"
    ),
]
ProgramUserName = Annotated[
    str, typer.Option("--exec-user", help="As whom the program runs; root alone can choose.")
]
Asr = Annotated[
    list[str] | None,
    typer.Option(
        callback=checked_languages, help="Languages it recognises: en,fr.", metavar="LIST"
    ),
]
Nmt = Annotated[
    list[str] | None, typer.Option(help="Pairs it translates: en:es,es:en.", metavar="LIST")
]
Tts = Annotated[
    list[str] | None,
    typer.Option(callback=checked_languages, help="Languages it speaks: es.", metavar="LIST"),
]
NodeId = Annotated[
    str,
    typer.Option(callback=checked_node_id, help="Its name; without one the server makes one."),
]
MaxConcurrency = Annotated[
    int | None, typer.Option(min=1, max=4096, help="Jobs at a time; 4 if not said.")
]
Label = Annotated[
    list[str] | None, typer.Option(help="A label; may be repeated.", metavar="KEY=VALUE")
]
Pin = Annotated[str, typer.Option(help="With tls://: the server's key, sha256:...")]
Ca = Annotated[
    Path | None, typer.Option(help="With tls://: a file with who signed the server's certificate.")
]
Enrolment = Annotated[
    str,
    typer.Option(
        "--enrol", envvar="POINTSMAN_ENROL", help="Enrol first; - asks for the introduction."
    ),
]
EnrolledPool = Annotated[str, typer.Option("--pool", help="The pool it is introduced for.")]
NodeStateDir = Annotated[
    Path | None, typer.Option(help="Where it keeps its key; usually a place by its name.")
]
History = Annotated[
    Path | None,
    typer.Option(help="Append what happens to this file, for the history checker."),
]
ReportLoad = Annotated[
    bool,
    typer.Option(
        "--report-load/--no-report-load",
        help="Say how busy the machine is; a busy one gets no jobs.",
    ),
]
