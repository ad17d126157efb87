"""What is found on a host, and what to make of it.  Pure: facts in, findings out."""

from enum import StrEnum

import msgspec

from pointsman_sched.supervisor.grounds import BACKLOG

PYTHON_MIN = (3, 11)
DESCRIPTORS_SPARE = 256
SYSTEM_USERS_BELOW = 1_000
MIB = 1 << 20


class Verdict(StrEnum):
    """How a finding stands; only `bad` keeps a service from doing its work."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"


class Finding(msgspec.Struct, frozen=True):
    """One line of the doctor's: what was looked at, how it is, and what to do if it is not ok."""

    name: str
    verdict: Verdict
    words: str
    todo: str = ""


class DirectoryFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A directory of the instance; mode and owner mean nothing where it does not exist."""

    path: str
    exists: bool
    mode: int = 0
    owner: int = -1
    can_be_made: bool = False
    open_to: str = ""  # the group that may enter, because it may ask or order


class OperatorFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Which groups may use the admin sockets, with their members."""

    operators: str = ""
    readers: str = ""
    members: tuple[str, ...] = ()
    trouble: str = ""  # why a process would refuse to start

    @property
    def by_right(self) -> tuple[tuple[str, str], ...]:
        return ("order", self.operators), ("ask", self.readers)


class HostFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was read of the host; None stands for what could not be read."""

    instance: str = "default"
    is_running: bool
    holder: str = ""  # who has its name, where nobody answers in the directory that was named
    descriptors_max: int
    nodes_max: int
    worker_count: int
    cores: int
    governor: str | None = None
    memory_free_bytes: int = 0  # of /dev/shm
    memory_needed_bytes: int = 0  # of /dev/shm, by the configuration
    leftovers: tuple[str, ...] = ()  # segments of this instance's name
    is_clock_synchronised: bool | None = None
    clock_offset_ms: float = 0.0
    address: str = ""
    port_trouble: str = ""  # why it cannot be listened at, or dialled while the service runs
    directories: tuple[DirectoryFacts, ...] = ()
    operators: OperatorFacts = OperatorFacts()
    user_id: int = 0
    has_logind: bool = False
    keeps_ipc: bool = False  # logind leaves shared memory of users that have left
    backlog_max: int | None = None
    python: tuple[int, int] = (0, 0)
    libraries: tuple[tuple[str, str], ...] = ()  # name, version; "" where it is not installed
    redis: str | None = None  # None: not configured; "": fit; else what is wrong
    redis_is_fatal: bool = False
    machine: str = "x86_64"


def judge(facts: HostFacts) -> list[Finding]:
    """Return a finding for everything that was looked at, in the order in which to mend it."""
    return [
        _python(facts),
        _libraries(facts),
        _instance(facts),
        _descriptors(facts),
        _memory(facts),
        _leftovers(facts),
        _port(facts),
        *(_directory(directory, facts.user_id) for directory in facts.directories),
        _operators(facts.operators),
        _user(facts),
        _clock(facts),
        _cores(facts),
        _backlog(facts),
        _machine(facts),
        _redis(facts),
    ]


def _python(facts: HostFacts) -> Finding:
    words = f"{facts.python[0]}.{facts.python[1]}"
    if facts.python >= PYTHON_MIN:
        return Finding("python", Verdict.OK, words)
    return Finding("python", Verdict.BAD, words, "install Python 3.11 or newer")


def _libraries(facts: HostFacts) -> Finding:
    missing = [name for name, version in facts.libraries if not version]
    if missing:
        todo = "pip install 'pointsman[server]'"
        return Finding("libraries", Verdict.BAD, f"missing: {', '.join(missing)}", todo)
    words = ", ".join(f"{name} {version}" for name, version in facts.libraries)
    return Finding("libraries", Verdict.OK, words)


def _instance(facts: HostFacts) -> Finding:
    name, words = "service", f"instance {facts.instance}"
    if not facts.holder:
        return Finding(name, Verdict.OK, f"{words} {'runs' if facts.is_running else 'is free'}")
    words += f" runs ({facts.holder}), but does not answer in the directory that is looked at"
    todo = "name what it was given: --config, --runtime-dir, --state-dir"
    return Finding(name, Verdict.WARN, words, todo)


def _descriptors(facts: HostFacts) -> Finding:
    # Each worker and the manager have a connection of every node.
    needed = facts.nodes_max + DESCRIPTORS_SPARE
    words = f"{facts.descriptors_max:,} for each process; {facts.nodes_max:,} nodes need {needed:,}"
    if facts.descriptors_max >= needed:
        return Finding("descriptors", Verdict.OK, words)
    todo = f"LimitNOFILE={needed} in the units, or `ulimit -n {needed}`; or lower nodes.max_nodes"
    return Finding("descriptors", Verdict.WARN, words, todo)


def _memory(facts: HostFacts) -> Finding:
    free, needed = facts.memory_free_bytes // MIB, -(-facts.memory_needed_bytes // MIB)
    words = f"{free:,} MiB free in /dev/shm, {needed:,} MiB needed"
    if facts.is_running or facts.memory_free_bytes >= facts.memory_needed_bytes:
        return Finding("shared memory", Verdict.OK, words)
    todo = "enlarge /dev/shm (mount -o remount,size=...; --shm-size), or lower nodes.max_nodes"
    return Finding("shared memory", Verdict.BAD, words, todo)


def _leftovers(facts: HostFacts) -> Finding:
    count = len(facts.leftovers)
    if facts.is_running or facts.holder or not count:
        return Finding("leftovers", Verdict.OK, "none" if not count else f"{count} segments in use")
    words = f"{count} segments of a service that does not run: {', '.join(facts.leftovers[:3])}"
    todo = "start the service, which takes them over; or rm them if it will not run here again"
    return Finding("leftovers", Verdict.WARN, words, todo)


def _port(facts: HostFacts) -> Finding:
    state = "answers" if facts.is_running else "free"
    if not facts.port_trouble:
        return Finding("port", Verdict.OK, f"{facts.address} {state}")
    todo = "end what listens there, or choose another server.port"
    if facts.is_running:
        todo = "the service listens elsewhere (`pointsman status`), or a firewall is in the way"
    words = f"{facts.address}: {facts.port_trouble}"
    return Finding("port", Verdict.WARN if facts.is_running else Verdict.BAD, words, todo)


def _directory(directory: DirectoryFacts, user_id: int) -> Finding:
    name, path = "directory", directory.path
    if not directory.exists:
        if directory.can_be_made:
            return Finding(name, Verdict.OK, f"{path} will be made")
        todo = f"make it for the user of the service, or run this as that user: mkdir {path}"
        return Finding(name, Verdict.BAD, f"{path} is not there and cannot be made", todo)
    # Root looks at a service that runs as a user of its own.
    whose = "this user's" if directory.owner == user_id else f"user {directory.owner}'s"
    if directory.owner != user_id != 0:
        words = f"{path} is owned by user {directory.owner}, not by this user ({user_id})"
        return Finding(name, Verdict.BAD, words, f"chown {user_id} {path}, or run as its owner")
    if directory.open_to and directory.mode & 0o077 == 0o050:
        return Finding(name, Verdict.OK, f"{path} is {whose}, open to group {directory.open_to}")
    if directory.mode & 0o077:
        words = f"{path} is open to others (mode {directory.mode:04o})"
        return Finding(name, Verdict.BAD, words, f"chmod 0700 {path}")
    return Finding(name, Verdict.OK, f"{path} is {whose} alone")


def _operators(facts: OperatorFacts) -> Finding:
    name = "operators"
    if facts.trouble:
        return Finding(name, Verdict.BAD, facts.trouble, "make the group, or take the knob out")
    parts = [f"{group} may {what}" for what, group in facts.by_right if group]
    if not parts:
        return Finding(name, Verdict.OK, "root and the user of the service alone")
    members = ", ".join(facts.members) or "no members yet"
    return Finding(name, Verdict.OK, f"group {', group '.join(parts)} ({members})")


def _user(facts: HostFacts) -> Finding:
    words = f"user {facts.user_id}"
    if facts.user_id < SYSTEM_USERS_BELOW or not facts.has_logind:
        return Finding("user", Verdict.OK, words)
    if facts.keeps_ipc:
        return Finding("user", Verdict.OK, f"{words}; logind leaves shared memory alone")
    todo = "run it as a system user (`pointsman systemd install`), or RemoveIPC=no in logind.conf"
    words = f"{words} is no system user: logind removes its shared memory when it logs out"
    return Finding("user", Verdict.WARN, words, todo)


def _clock(facts: HostFacts) -> Finding:
    if facts.is_clock_synchronised is None:
        return Finding("clock", Verdict.OK, "cannot be read here; nothing is timed by it")
    words = f"offset {facts.clock_offset_ms:.1f} ms"
    if facts.is_clock_synchronised:
        return Finding("clock", Verdict.OK, f"synchronised, {words}")
    todo = "run chrony or systemd-timesyncd: certificates and the times in logs need it"
    return Finding("clock", Verdict.WARN, "the kernel says that it is not synchronised", todo)


def _cores(facts: HostFacts) -> Finding:
    words = f"{facts.cores} for {facts.worker_count} workers and a manager"
    if facts.worker_count > facts.cores:
        todo = f"server.workers = {facts.cores}: more than cores take turns, and latency grows"
        return Finding("cores", Verdict.WARN, words, todo)
    if facts.governor == "powersave":
        todo = "cpupower frequency-set -g performance, where latency matters"
        return Finding("cores", Verdict.WARN, f"{words}; governor powersave", todo)
    return Finding("cores", Verdict.OK, words)


def _backlog(facts: HostFacts) -> Finding:
    if facts.backlog_max is None or facts.backlog_max >= BACKLOG:
        return Finding("backlog", Verdict.OK, f"{facts.backlog_max or BACKLOG:,} connections")
    words = f"net.core.somaxconn is {facts.backlog_max:,}: a storm of reconnects is refused"
    return Finding("backlog", Verdict.WARN, words, f"sysctl -w net.core.somaxconn={BACKLOG}")


def _machine(facts: HostFacts) -> Finding:
    if facts.machine in ("x86_64", "AMD64"):
        return Finding("machine", Verdict.OK, facts.machine)
    words = f"{facts.machine}: the order of stores is only known to hold on x86-64"
    return Finding("machine", Verdict.WARN, words, "run the service on x86-64; nodes may be others")


def _redis(facts: HostFacts) -> Finding:
    if facts.redis is None:
        return Finding("redis", Verdict.OK, "not configured: this instance is on its own")
    if not facts.redis:
        return Finding("redis", Verdict.OK, "answers, and its version and policies will do")
    todo = "see docs/redis.md; redis.policy says what happens meanwhile"
    verdict = Verdict.BAD if facts.redis_is_fatal else Verdict.WARN
    return Finding("redis", verdict, facts.redis, todo)
