"""The log of one process: the standard library's logging in front, a thread that writes behind.

Libraries below (asyncio, uvicorn, redis) speak to the standard library, so their lines come out in
the same form, are sampled as ours are, and cannot hold up the loop either.
"""

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic_ns

from pointsman_shm.logs.config_logs import LogsConfig
from pointsman_shm.logs.events import KINDS, LEVEL_NAMES, Event, Fields, Level
from pointsman_shm.logs.lines import Line, human, journal, machine
from pointsman_shm.logs.sampling import Sampler
from pointsman_shm.logs.writing import JournalSender, LineWriter, is_journal, to_descriptor

OURS = "pointsman"
STDERR = 2
# A record of ours carries these beside what the standard library has.
_EVENT, _FIELDS = "pointsman_event", "pointsman_fields"


class ProcessLog(logging.Handler):
    """What one process says; `tell` returns at once, whatever becomes of the line."""

    def __init__(self, settings: LogsConfig, *, process: str, instance: str) -> None:
        super().__init__()
        self._process = process
        self._instance = instance
        self._sampler = Sampler(per_s=settings.lines_per_s, burst=settings.burst)
        self._form, self._writer = _way_of(settings.format)
        self._told_lost_count = 0
        self._level = LEVEL_NAMES[settings.level]

    def open(self) -> None:
        """Take over what this process and its libraries log from now on."""
        self._writer.start()
        root = logging.getLogger()
        root.addHandler(self)
        root.setLevel(max(self._level, Level.WARNING))
        logging.getLogger(OURS).setLevel(self._level)

    def close(self) -> None:
        """Tell what was kept back, and let the last lines out, for half a second at most."""
        logging.getLogger().removeHandler(self)
        self._tell_kept_back(is_last=True)
        self._writer.close()
        super().close()

    @property
    def level_name(self) -> str:
        """The level that lines must have to be written."""
        return self._level.name.lower()

    def set_level(self, name: str) -> str:
        """Write from now on what is at least as grave; returns the level before."""
        before = self.level_name
        self._level = LEVEL_NAMES[name]
        logging.getLogger().setLevel(max(self._level, Level.WARNING))
        logging.getLogger(OURS).setLevel(self._level)
        if name != before:
            self.tell(Event.LOG_LEVEL, f"the level of this log is {name} now, it was {before}")
        return before

    def tell(
        self, event: Event, words: str, fields: Fields = (), *, level: Level | None = None
    ) -> None:
        """Write one line about an event, unless it is less grave than what is wanted."""
        grave = KINDS[event].level if level is None else level
        if grave >= self._level:
            extra = {_EVENT: event.value, _FIELDS: fields}
            logging.getLogger(OURS).log(grave, "%s", words, extra=extra)

    def about(self, event: Event) -> Callable[[str], None]:
        """Return what tells of this one event."""
        return lambda words: self.tell(event, words)

    def ended(self, status: int, why: str) -> None:
        """Tell why the process ends."""
        self.tell(Event.PROCESS_FAILED if status else Event.PROCESS_STOPS, why)

    def look(self) -> int:
        """Tell what was kept back (once a second); returns how many lines were lost since."""
        self._tell_kept_back(is_last=False)
        lost_count = self._writer.lost_count
        lost, self._told_lost_count = lost_count - self._told_lost_count, lost_count
        return lost

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record of the standard library; called by it, under this handler's lock."""
        event = getattr(record, _EVENT, Event.LIBRARY.value)
        key = event if event != Event.LIBRARY.value else f"library {record.name}"
        if self._sampler.may_write(key, monotonic_ns()):
            self._write(_line_of(record, self._process, self._instance))

    def _tell_kept_back(self, *, is_last: bool) -> None:
        with self.lock or threading.RLock():
            kept_back = self._sampler.take_kept_back(monotonic_ns(), is_last=is_last)
        for event, count in kept_back:
            words = f"and {count:,} more of {event}"
            record = logging.LogRecord(OURS, Level.INFO, "", 0, "%s", (words,), None)
            setattr(record, _EVENT, event)
            setattr(record, _FIELDS, (("kept_back", count),))
            self._write(_line_of(record, self._process, self._instance))

    def _write(self, line: Line) -> None:
        self._writer.offer(self._form(line))


@contextmanager
def process_log(settings: LogsConfig, *, process: str, instance: str) -> Iterator[ProcessLog]:
    """Log for as long as the process runs."""
    log = ProcessLog(settings, process=process, instance=instance)
    log.open()
    try:
        yield log
    finally:
        log.close()


def _way_of(
    wanted: str, environment: Mapping[str, str] = os.environ
) -> tuple[Callable[[Line], bytes], LineWriter]:
    """Return in which form lines are written, and what writes them."""
    stream = environment.get("JOURNAL_STREAM", "")
    if wanted == "auto" and stream and is_journal(stream, STDERR):
        try:
            sender = JournalSender()
        except OSError:  # in a chroot, for example: the stream is read by journald as well
            return human, LineWriter(to_descriptor(STDERR))
        return journal, LineWriter(sender.write, end=sender.close)
    return machine if wanted == "json" else human, LineWriter(to_descriptor(STDERR))


def _line_of(record: logging.LogRecord, process: str, instance: str) -> Line:
    words = record.getMessage()
    fields: Fields = getattr(record, _FIELDS, ())
    if not hasattr(record, _EVENT):
        fields = (("logger", record.name),)
    if record.exc_info:
        words = f"{words}: {_trace(record)}"
    return Line(
        at_s=record.created,
        level=_level_of(record.levelno),
        event=getattr(record, _EVENT, Event.LIBRARY.value),
        process=process,
        instance=instance,
        pid=record.process or os.getpid(),
        words=words,
        fields=fields,
    )


def _trace(record: logging.LogRecord) -> str:
    return logging.Formatter().formatException(record.exc_info or sys.exc_info())


def _level_of(number: int) -> Level:
    return max((level for level in Level if level <= number), default=Level.DEBUG)
