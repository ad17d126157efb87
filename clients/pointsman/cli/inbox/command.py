"""`inbox list`, `show`, `redrive`, `drop`: the entries of inboxes that no worker could absorb."""

from typing import Annotated

import typer

from pointsman.cli.endings import FAILED, USAGE, Commands, Trouble
from pointsman.cli.fleet.asking import find_service, no_answer
from pointsman.cli.fleet.view import age_words, count_words, show_faults
from pointsman.cli.inbox.asking import letter_name, order_workers, shown_name
from pointsman.cli.options import Instance, Json, Limit, RuntimeDir
from pointsman.cli.screen import facts, fields, say, say_json, show, table
from pointsman_wire.limits import PAGE_LINES_MAX
from pointsman_wire.queries.inbox_messages import (
    DeadLetters,
    DeadLettersQuery,
    DropOrder,
    LetterLine,
    LetterQuery,
    LettersSettled,
    LetterView,
    RedriveOrder,
)

app = typer.Typer(cls=Commands)
inbox_app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    help="Look after the dead letters: what other instances said and no worker could absorb.",
)
app.add_typer(inbox_app, name="inbox")

LetterArgument = Annotated[
    str, typer.Argument(metavar="ID", help="The letter, as `inbox list` names it.")
]


@inbox_app.command(name="list")
def list_letters(
    *,
    instance: Instance = "default",
    runtime_dir: RuntimeDir = None,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """List the dead letters of all workers, the newest first.

    Exit code 1 when a worker does not answer.
    """
    service = find_service(instance, runtime_dir)
    query = DeadLettersQuery(limit=min(limit, PAGE_LINES_MAX))
    answers, faults = order_workers(service, service.workers, query, DeadLetters)
    lines = [(worker, line) for worker, answer in answers.items() for line in answer.letters]
    lines.sort(key=lambda one: one[1].buried_ago_s)
    total = sum(answer.total for answer in answers.values())
    if as_json:
        listed = [_fields(worker, line) for worker, line in lines[:limit]]
        data = {"instance": service.instance, "total": total, "letters": listed}
        say_json({**data, **no_answer(faults)})
    else:
        show_faults(faults)
        _show_lines(lines[:limit], total)
    if faults:
        raise typer.Exit(FAILED)


def _show_lines(lines: list[tuple[str, LetterLine]], total: int) -> None:
    rows = [
        [
            shown_name(worker, line.id),
            f"{age_words(line.buried_ago_s * 1e3)} ago",
            line.sender or "unknown",
            str(line.bytes),
            line.why,
        ]
        for worker, line in lines
    ]
    if rows:
        show(table(["letter", "buried", "of", "bytes", "why"], rows, numbers=["bytes"]))
    more = f", {len(rows)} of them shown: --limit {total} shows all" if total > len(rows) else ""
    say(f"{count_words(total, 'dead letter')}{more}")


@inbox_app.command(name="show")
def show_letter(
    letter: LetterArgument,
    *,
    instance: Instance = "default",
    runtime_dir: RuntimeDir = None,
    as_json: Json = False,
) -> None:
    """Show one dead letter: who wrote it, why it died, and what it says."""
    service = find_service(instance, runtime_dir)
    worker, letter_id = letter_name(service, letter)
    answers, _ = order_workers(service, [worker], LetterQuery(id=letter_id), LetterView)
    view = answers[worker]
    if as_json:
        say_json({**fields(view), "letter": _fields(worker, view.letter)})
        return
    line = view.letter
    facts(
        [
            ("letter", shown_name(worker, line.id)),
            ("of", f"{line.sender or 'unknown'}, life {line.sender_epoch}, entry {line.number}"),
            ("buried", f"{age_words(line.buried_ago_s * 1e3)} ago: {line.why}"),
            ("size", count_words(line.bytes, "byte")),
            ("now", view.trouble or "it can be read"),
        ]
    )
    for frame in view.frames:
        payload = f" + {count_words(frame.payload_bytes, 'byte')}" if frame.payload_bytes else ""
        say(f"  {frame.message}{payload}")
    if view.frames_left_out:
        say(f"and {count_words(view.frames_left_out, 'more frame')}")


@inbox_app.command()
def redrive(
    letter: Annotated[
        str, typer.Argument(metavar="[ID]", help="The letter, as `inbox list` names it.")
    ] = "",
    *,
    is_all: Annotated[bool, typer.Option("--all", help="All dead letters of all workers.")] = False,
    instance: Instance = "default",
    runtime_dir: RuntimeDir = None,
    as_json: Json = False,
) -> None:
    """Put a dead letter into its inbox again; if it dies again, it is back among the dead.

    Exit code 1: the inbox is full. 2: the letter is not there.
    """
    if bool(letter) is is_all:
        raise Trouble("name one letter, or --all", code=USAGE)
    service = find_service(instance, runtime_dir)
    workers, order = list(service.workers), RedriveOrder()
    if letter:
        worker, letter_id = letter_name(service, letter)
        workers, order = [worker], RedriveOrder(id=letter_id)
    answers, faults = order_workers(service, workers, order, LettersSettled)
    count = sum(answer.count for answer in answers.values())
    full = [worker for worker, answer in answers.items() if answer.is_full]
    if as_json:
        data = {"instance": service.instance, "redriven": count, "full": full}
        say_json({**data, **no_answer(faults)})
    else:
        show_faults(faults)
        say(f"{count_words(count, 'letter')} put into the inbox again")
    if full:
        raise Trouble(
            f"the inbox of {', '.join(full)} is full; what it did not take is still a dead letter",
            todo="try again when it has caught up",
        )
    if faults or (letter and not count):
        raise typer.Exit(FAILED)


@inbox_app.command()
def drop(
    letter: LetterArgument,
    *,
    instance: Instance = "default",
    runtime_dir: RuntimeDir = None,
    as_json: Json = False,
) -> None:
    """Throw a dead letter away for good."""
    service = find_service(instance, runtime_dir)
    worker, letter_id = letter_name(service, letter)
    answers, _ = order_workers(service, [worker], DropOrder(id=letter_id), LettersSettled)
    count = answers[worker].count
    if as_json:
        say_json({"instance": service.instance, "dropped": count})
    else:
        say(f"{count_words(count, 'letter')} thrown away")
    if not count:
        raise typer.Exit(FAILED)


def _fields(worker: str, line: LetterLine) -> dict[str, object]:
    return {**fields(line), "id": shown_name(worker, line.id), "worker": worker}
