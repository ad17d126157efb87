"""What Redis may refuse, what that means for a call, and what the operator can do: one table.

    retry     the request had no effect; ask again at once, after what the table says, but once
    degrade   no effect either, and asking again at once will not help: answered `down`
    fatal     no effect, and somebody has to mend something: answered `down`, and said aloud

None of them ends a process.  What is not in the table is `fatal`, under ERR.
"""

from typing import Literal, NamedTuple

Treatment = Literal["retry", "degrade", "fatal"]


class Trouble(NamedTuple):
    """One row of the table."""

    treatment: Treatment
    meaning: str
    remedy: str


TROUBLES: dict[str, Trouble] = {
    "NOSCRIPT": Trouble("retry", "the server has lost the scripts", "they are loaded again"),
    "MOVED": Trouble("retry", "another server has the slot", "the map is read again"),
    "ASK": Trouble("retry", "the slot is moving to another server", "that one is asked"),
    "READONLY": Trouble("retry", "the server is a replica now", "the primary is looked up again"),
    "NOGROUP": Trouble("retry", "the inbox was forgotten", "it is made again"),
    "TRYAGAIN": Trouble("degrade", "the slot's keys are on two servers just now", "wait"),
    "CLUSTERDOWN": Trouble("degrade", "a part of the Cluster has no primary", "start its servers"),
    "MASTERDOWN": Trouble("degrade", "a replica has lost its primary", "start the primary"),
    "LOADING": Trouble("degrade", "the server is reading its data", "wait"),
    "BUSY": Trouble("degrade", "somebody's script runs for too long", "SCRIPT KILL ends it"),
    "OOM": Trouble("degrade", "the server's memory is full", "raise maxmemory"),
    "MISCONF": Trouble("degrade", "the server cannot write its disk", "see its log; free the disk"),
    "NOREPLICAS": Trouble("degrade", "too few replicas follow", "start replicas"),
    "UNKILLABLE": Trouble("degrade", "a script that wrote runs for too long", "restart the server"),
    "NOAUTH": Trouble(
        "fatal",
        "the server wants a password",
        "set redis.password_file; for a Sentinel, redis.sentinel_password_file",
    ),
    "WRONGPASS": Trouble(
        "fatal",
        "user or password is wrong",
        "check username and password_file; of a Sentinel, those that begin with sentinel_",
    ),
    "NOPERM": Trouble("fatal", "the user may not do this", "give it the rights of docs/redis.md"),
    "WRONGTYPE": Trouble("fatal", "another program writes under our prefix", "give it another one"),
    "CROSSSLOT": Trouble("fatal", "the names of a script are in two slots", "report this"),
    "ERR": Trouble("fatal", "the server did not understand or a script failed", "report this"),
}


class Refusal(NamedTuple):
    """An error that a server answered with: its code, and its words without the code."""

    code: str
    text: str

    @property
    def trouble(self) -> Trouble:
        return TROUBLES[self.code]

    def __str__(self) -> str:
        meaning, remedy = self.trouble.meaning, self.trouble.remedy
        return f"Redis refused: {self.code} ({meaning}: {remedy}): {self.text}"


def refusal(text: str) -> Refusal:
    """Read the words of an error reply, with or without the code ERR.  Never raises.

    Servers word what a command in a script was refused with in ways of their own:
    `ERR Error running script (call to f_...): @user_script:7: -OOM command not allowed ...`
    `ERR The user executing the script can't run this command or subcommand ...`
    """
    words = text.removeprefix("ERR ")
    if words.startswith("Error running script"):
        words = words.partition(": -")[2]
    if "can't run this command" in words or "can't access" in words:
        return Refusal("NOPERM", words)
    code, _, rest = words.removeprefix("-").partition(" ")
    return Refusal(code, rest) if code in TROUBLES else Refusal("ERR", words or text)
