"""What the demo shows while it runs, and its table at the end."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.rule import Rule
from rich.status import Status
from rich.text import Text

from pointsman.cli.demo.tour import IMPOSSIBLE, SRC, TGT, NodePlan, Record, Task
from pointsman.cli.demo.utterances import Input, Utterance
from pointsman.cli.fleet.view import count_words
from pointsman.cli.placement_words import (
    node_reason,
    pool_reason,
    pool_words,
    refusal_rows,
    time_words,
)
from pointsman.cli.screen import facts, out, say, show, table
from pointsman.cli.submitting import Ended
from pointsman.engines import audio
from pointsman.errors import PointsmanError


class Pictures:
    """The demo's screen: lines that stay, and in a terminal one that tells what is going on."""

    def __init__(self) -> None:
        self._status: Status | None = out.status("starting") if out.is_terminal else None

    def busy(self, words: str) -> None:
        """Tell what is going on: in a line that vanishes, where lines can vanish."""
        if self._status is None:
            say(f"  ... {words}")
            return
        self._status.update(words)
        self._status.start()

    def rest(self) -> None:
        """Nothing is going on."""
        if self._status is not None:
            self._status.stop()

    def title(self, words: str) -> None:
        """Begin a part."""
        self.rest()
        out.print()
        if self._status is None:
            say(f"== {words}")
            return
        out.print(Rule(Text(words, style="bold"), align="left", style="dim"))

    # -- the tour's screen -------------------------------------------------------------------

    def working(self, task: Task) -> None:
        """A job is on its way."""
        self.busy(f"{task.title} ({', '.join(task.wanted.services)})")

    def came_through(self, task: Task, ended: Ended) -> None:
        """A job has ended well: what came of it, who did it and why."""
        self.rest()
        result, placement = ended.result, ended.result.placement
        is_heard = "asr" in task.wanted.services
        sound = f"{shown(task.file)}, {sound_words(result.payload)}" if task.file else ""
        out.print(Text(task.title, style="bold") + Text(f" on {result.node_id}", style="green"))
        facts(
            [
                ("  heard", (ended.heard or "(nothing)") if is_heard else ""),
                ("  translation", ended.translation),
                ("  written", sound),
                ("  pool", pool_reason(placement) if placement else ""),
                ("  node", node_reason(placement) if placement else ""),
                ("  took", time_words(ended)),
            ]
        )

    def went_wrong(self, task: Task, error: PointsmanError) -> None:
        """A job did not come through."""
        self.rest()
        out.print(Text(f"{task.title} FAILED: {error.code}: {error.message}", style="bold red"))
        self._show_reasons(error)

    def _show_reasons(self, error: PointsmanError) -> None:
        breakdown = error.breakdown
        if breakdown and breakdown.counts:
            heads = ["nodes", "reason", "which"]
            show(table(heads, refusal_rows(breakdown), numbers=["nodes"]))
        facts([("what to do", (breakdown and breakdown.fix) or error.hint)])

    # -- before and after --------------------------------------------------------------------

    def show_cast(self, address: str, workers: int, cast: Sequence[NodePlan]) -> None:
        """The service and its nodes stand."""
        self.rest()
        facts(
            [
                ("service", f"{address}, {workers} dispatcher workers, no configuration"),
                ("page", f"http://{address}/"),
                *((plan.name, f"a node with {', '.join(plan.services)}") for plan in cast),
                ("note", "one machine plays them all, so how busy it is does not count"),
            ]
        )

    def show_missing(self, missing: Mapping[str, str]) -> None:
        """What is not installed here, and how to get it."""
        facts((f"no {service}", why) for service, why in missing.items())

    def show_utterance(self, number: int, sounds: Input, utterance: Utterance) -> None:
        """One utterance begins."""
        said = f'"{utterance.words}"' if utterance.words else utterance.name
        length = sound_words(utterance.wav)
        self.title(f"{number} of {len(sounds.utterances)}: {said}, {length}, {sounds.origin}")

    def show_visit(self, address: str, record: Record) -> None:
        """Everything is still there, for whoever wants to try it."""
        self.title("your turn")
        for problem in record.problems:
            out.print(Text(f"FAILED  {problem}", style="bold red"), soft_wrap=True)
        out.print(Text(f"the page, in a browser on this machine: http://{address}/", style="bold"))
        self.busy("serving until Ctrl-C")

    def show_refusal(self, error: PointsmanError) -> None:
        """The request that nobody can do, and why."""
        self.rest()
        facts([("refused", f"{error.code}: {error.message}")])
        self._show_reasons(error)

    def show_end(self, record: Record, *, seconds: float) -> None:
        """The table of all jobs, and what did not come through."""
        self.title("all of it")
        heads = ["no", "job", "node", "pool", "placed µs", "waited ms", "whole ms"]
        rows = [_row(task, ended) for task, ended in record.ended]
        if rows:
            show(table(heads, rows, numbers=("no", *heads[4:])))
            out.print()
        for problem in record.problems:
            out.print(Text(f"FAILED  {problem}", style="bold red"), soft_wrap=True)
        count, all_of_it = len(rows), "not all" if record.problems else "everything"
        words = (
            f"{count_words(count, 'job')} ended well, {all_of_it} came through, in {seconds:.0f} s."
        )
        out.print(Text(words, style="bold"))

    def show_next(self, program: str, sample: Path) -> None:
        """What to try by hand."""
        self.title("try next")
        submit = f"{program} submit --src {SRC}"
        for what, command in (
            ("the service, in a terminal of its own", f"{program} serve"),
            ("a node, in another", f"{program} node --engines speech"),
            ("then", f"{submit} --tgt {TGT} --file {shown(sample)} --out hola.wav"),
            ("who is there", f"{program} nodes"),
            ("what nobody can do, and why", f"{submit} --tgt {IMPOSSIBLE} --text hello"),
        ):
            out.print(Text(f"  # {what}", style="dim"))
            say(f"  {command}")


def _row(task: Task, ended: Ended) -> list[str]:
    result, placement = ended.result, ended.result.placement
    return [
        str(task.number),
        task.title,
        result.node_id,
        pool_words(placement.pool) if placement else "",
        f"{result.placement_us:.0f}",
        f"{result.queued_ms:.0f}",
        f"{ended.total_ms:.0f}",
    ]


def shown(path: Path | None) -> str:
    """Return a path as short as it can be from here."""
    if path is None:
        return ""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def sound_words(wav: bytes) -> str:
    """Return how long a sound lasts."""
    try:
        return f"{audio.read_wav(wav).duration_s:.1f} s of sound"
    except audio.BadAudio as error:
        return f"no sound: {error}"
