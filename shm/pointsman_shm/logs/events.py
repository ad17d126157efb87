"""The events that are worth a line, how grave each is, and what it means to an operator.

A line always names its event, so that who searches or alerts need not match words that change.
docs/logs.md lists this table.
"""

from enum import IntEnum, StrEnum
from typing import NamedTuple

# What a line says beside its words, by name.
Fields = tuple[tuple[str, str | int], ...]


class Level(IntEnum):
    """How grave; the numbers are those of the standard library."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


LEVEL_NAMES = {level.name.lower(): level for level in Level}


class Event(StrEnum):
    """Every event of the service's own; what libraries say comes as `library`."""

    SERVICE = "service"
    PROCESS_STARTED = "process.started"
    PROCESS_WAITS = "process.waits"
    PROCESS_STOPS = "process.stops"
    PROCESS_FAILED = "process.failed"
    CHILD_TROUBLE = "child.trouble"
    CHILD_GIVEN_UP = "child.given_up"
    NODE_JOINED = "node.joined"
    NODE_REFUSED = "node.refused"
    NODE_UNWELL = "node.unwell"
    NODE_READY = "node.ready"
    NODE_DRAINING = "node.draining"
    NODE_LOST = "node.lost"
    FLEET_ALARM = "fleet.alarm"
    INSTANCES = "instances"
    REDIS_DOWN = "redis.down"
    REDIS_UNFIT = "redis.unfit"
    JOB_DUPLICATE = "job.duplicate"
    OVERLOAD = "overload"
    JOURNAL_TROUBLE = "journal.trouble"
    REGISTRY_TROUBLE = "registry.trouble"
    SEGMENT_REMADE = "segment.remade"
    CONFIG_RELOAD = "config.reload"
    DEAD_LETTERS = "dead_letters"
    AUTH_FAILED = "auth.failed"
    TOKENS_UNREADABLE = "tokens.unreadable"
    LOG_LEVEL = "log.level"
    AUDIT = "audit"
    LIBRARY = "library"


class Kind(NamedTuple):
    """What holds for all lines of one event."""

    level: Level
    meaning: str


KINDS: dict[Event, Kind] = {
    Event.SERVICE: Kind(Level.INFO, "The service as a whole: its ground, its end."),
    Event.PROCESS_STARTED: Kind(Level.INFO, "A process is ready."),
    Event.PROCESS_WAITS: Kind(Level.WARNING, "A process waits for what a predecessor holds."),
    Event.PROCESS_STOPS: Kind(Level.INFO, "A process ends because it was told to."),
    Event.PROCESS_FAILED: Kind(Level.ERROR, "A process cannot start or go on; it says why."),
    Event.CHILD_TROUBLE: Kind(Level.WARNING, "A process died, hangs or cannot be started."),
    Event.CHILD_GIVEN_UP: Kind(Level.ERROR, "A process is not started any more: mend, restart."),
    Event.NODE_JOINED: Kind(Level.INFO, "A node was registered."),
    Event.NODE_REFUSED: Kind(Level.WARNING, "A registration was refused, with its code."),
    Event.NODE_UNWELL: Kind(Level.INFO, "A node is suspect or degraded: it gets no new jobs."),
    Event.NODE_READY: Kind(Level.INFO, "A node takes jobs."),
    Event.NODE_DRAINING: Kind(Level.INFO, "A node finishes what it has and gets nothing new."),
    Event.NODE_LOST: Kind(Level.WARNING, "A node is Offline; what ran there fails over."),
    Event.FLEET_ALARM: Kind(Level.ERROR, "Too many nodes went silent at once to be believed."),
    Event.INSTANCES: Kind(Level.INFO, "Another instance came, went, or is not heard."),
    Event.REDIS_DOWN: Kind(Level.ERROR, "Redis does not answer; the policy for that holds."),
    Event.REDIS_UNFIT: Kind(Level.ERROR, "Redis in use was set up to drop keys, or no more."),
    Event.JOB_DUPLICATE: Kind(Level.ERROR, "One request ran twice while Redis did not answer."),
    Event.OVERLOAD: Kind(Level.WARNING, "A worker went up or down a step of overload."),
    Event.JOURNAL_TROUBLE: Kind(Level.ERROR, "The journal is damaged or cannot be written."),
    Event.REGISTRY_TROUBLE: Kind(Level.ERROR, "The file of node keys is damaged."),
    Event.SEGMENT_REMADE: Kind(Level.WARNING, "Shared memory was unusable and was made anew."),
    Event.CONFIG_RELOAD: Kind(Level.INFO, "What came of a reload of the configuration."),
    Event.DEAD_LETTERS: Kind(Level.INFO, "An operator tended dead letters."),
    Event.AUTH_FAILED: Kind(Level.WARNING, "Somebody could not prove who he is."),
    Event.TOKENS_UNREADABLE: Kind(Level.ERROR, "The file of client tokens cannot be used."),
    Event.LOG_LEVEL: Kind(Level.INFO, "The level of the log was changed."),
    Event.AUDIT: Kind(Level.INFO, "Somebody ordered something: who, what, and what came of it."),
    Event.LIBRARY: Kind(Level.WARNING, "A library below says something; it names itself."),
}
