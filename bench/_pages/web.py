"""The tables of sessions over WebSocket: sound, those who read nothing, and the two encodings."""

from _pages.results import Column, Results, table
from _pages.sections import source

SOUND = (
    Column("sessions", "open"),
    Column("speakers", "of them speak"),
    Column("idle_kib_per_session", "KiB of the workers for each, idle"),
    Column("before_pss_mib", "both workers, MiB: before"),
    Column("idle_pss_mib", "all open"),
    Column("talking_pss_mib", "some speak"),
    Column("heard_mib_max", "sound of open utterances, MiB at most"),
    Column("workers_idle_load", "workers' load when idle"),
    Column("workers_load", "when some speak"),
)
ANSWERS = (
    Column("utterances", "utterances"),
    Column("refused", "refused"),
    Column("unanswered", "unanswered"),
    Column("event_p50_ms", "end to first event: p50, ms"),
    Column("event_p99_ms", "p99"),
    Column("result_p50_ms", "end to result: p50, ms"),
    Column("result_p99_ms", "p99"),
    Column("client_late_p99_ms", "clients' own lateness: p99, ms"),
)
SLOW = (
    Column("beside", "beside sessions that are"),
    Column("slow_sessions", "so many"),
    Column("slow_jobs", "their jobs"),
    Column("slow_ended", "of them ended"),
    Column("result_p50_ms", "submit to result of the others: p50, ms"),
    Column("result_p99_ms", "p99"),
    Column("workers_load", "workers' load"),
    Column("workers_pss_mib", "both workers, MiB"),
)
ENCODING = (
    Column("message", "message"),
    Column("encoding", "encoding"),
    Column("read_bytes", "bytes from a client"),
    Column("written_bytes", "to a client"),
    Column("read_us", "to read, µs"),
    Column("write_us", "to write, µs"),
    Column("read_times_msgpack", "times msgpack: to read"),
    Column("write_times_msgpack", "to write"),
)
KINDS = (("audio", SOUND), ("audio", ANSWERS), ("slow readers", SLOW), ("encoding", ENCODING))


def talking(results: Results) -> str:
    """A table for each kind of rows; two for sound."""
    result = results["talking"]
    tables = [table(result.of_kind(kind), columns) for kind, columns in KINDS]
    return "\n\n".join([*tables, source(result)])
