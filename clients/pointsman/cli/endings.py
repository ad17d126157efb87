"""How a command ends: the exit codes, and trouble told in words with what to do about it.

0    everything came through
1    something failed: no service there, a lost connection, a job that ended in an error
2    wrong usage: an unknown option, a value or file that cannot be used, a name that nobody has
3    no node took the job: none can do it, or all were busy for too long
75   (serve) shared memory is full
130  stopped with Ctrl-C
143  (top) ended by SIGTERM, with the terminal as it was
"""

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from pointsman.cli.screen import tell_trouble
from pointsman_wire.errors import Code, Fault
from pointsman_wire.messages import ErrorInfo

FAILED = 1
USAGE = 2
NOT_TAKEN = 3
STOPPED = 130
TERMINATED = 143

# What the caller has named wrongly; whatever else a service refuses is a failure.
WRONG_NAMES = (Code.NOT_FOUND.value, Code.INVALID_MESSAGE.value)

CODES_HELP = (
    "Exit codes: 0 all went well, 1 something failed, 2 wrong usage, 3 no node took the job, "
    "75 shared memory is full (serve), 130 stopped with Ctrl-C, 143 by SIGTERM (top)."
)


class Trouble(Exception):
    """Ends the command: what is wrong, what to do about it, and the exit code.

    `error_code` is the code of the error that the service gave, if it gave one.
    """

    def __init__(
        self, what: str, *, todo: str = "", code: int = FAILED, error_code: str = ""
    ) -> None:
        super().__init__(what)
        self.what = what
        self.todo = todo
        self.code = code
        self.error_code = error_code


def refused(error: ErrorInfo) -> Trouble:
    """Return the trouble that the service refused what it was asked or ordered, in its words.

    A hint about a client's fault is for who writes programs; to operators the words say it all.
    """
    todo = "" if error.fault == Fault.CLIENT else error.hint
    code = USAGE if error.code in WRONG_NAMES else FAILED
    return Trouble(error.message, todo=todo, code=code, error_code=error.code)


class FirstOfTwo(TyperCommand):
    """A command beside which others stand whose names begin with its own, as `node install`."""

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Complete options of its own, and second words."""
        found: list[Any] = super().shell_complete(ctx, incomplete)
        group = ctx.parent.command if ctx.parent is not None else None
        if isinstance(group, Commands):
            found += group.second_words(ctx.parent, ctx.info_name, incomplete)
        return found


class Commands(TyperGroup):
    """The commands of an application, which end with words and a code where trouble arises.

    A command may have two words: `node install` stands beside `node`.
    """

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Complete a first word; the second of two is completed behind the first."""
        return [item for item in super().shell_complete(ctx, incomplete) if " " not in item.value]

    def second_words(self, ctx: Any, first: str, incomplete: str) -> list[Any]:
        """Complete the second word of a command of two."""
        found = super().shell_complete(ctx, f"{first} {incomplete}")
        for item in found:
            item.value = item.value.removeprefix(f"{first} ")
        return found

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that was asked for."""
        words = " ".join(args[:2])
        command = self.get_command(ctx, words) if len(args) > 1 else None
        if command is not None:
            return words, command, args[2:]
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except Trouble as trouble:
            tell_trouble(trouble.what, trouble.todo, trouble.error_code)
            raise typer.Exit(trouble.code) from trouble
        except KeyboardInterrupt:
            raise typer.Exit(STOPPED) from None
