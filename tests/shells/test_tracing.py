"""Spans of jobs: made of what the core tells, sent by a thread, and never waited for."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from worker_harness import one_node

from pointsman_shm.logs.config_otel import OtelConfig
from pointsman_workers.core.events import JobTraced
from pointsman_workers.shell.tracing.exporter import Ended, SpanExporter, open_exporter
from pointsman_workers.shell.tracing.spans import Trace, stages_of, trace_of

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
WHOLE = f"00-{TRACE}-{PARENT}-01"
OTEL = OtelConfig(endpoint="http://127.0.0.1:4318/v1/traces")
PATIENCE_S = 20.0


def ended(number: int = 1, trace_id: str = WHOLE) -> JobTraced:
    return JobTraced(
        trace_id=trace_id,
        job_id=f"j-{number}",
        request_id=f"r-{number}",
        status="completed",
        node_id="attic",
        attempt=1,
        lasted_ns=5_000,
        ran_ns=4_000,
    )


class Collected(BaseHTTPRequestHandler):
    """A collector in memory: takes what is posted to it."""

    requests: list[ExportTraceServiceRequest]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.requests.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """Where it listens, and what has come."""
    came: list[ExportTraceServiceRequest] = []
    handler = type("Handler", (Collected,), {"requests": came})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/traces", came
        finally:
            server.shutdown()
            thread.join()


def test_an_ended_job_with_a_trace_is_told_with_its_times_and_its_node() -> None:
    _, h = one_node(otel=OTEL)
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-1", trace_id=WHOLE)
    h.advance(2.0)
    node.end(node.assignment())
    client.submit("r-2")
    node.end(node.assignment())
    [told] = [command for command in h.commands if isinstance(command, JobTraced)]
    assert (told.trace_id, told.request_id, told.node_id) == (WHOLE, "r-1", "node-3")
    assert (told.status, told.error_code, told.attempt) == ("completed", "", 1)
    assert told.lasted_ns >= 2e9
    assert told.ran_ns is not None
    assert 2e9 <= told.ran_ns <= told.lasted_ns


def test_a_job_that_no_node_had_is_told_with_its_error() -> None:
    _, h = one_node(otel=OTEL)
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-0")
    node.assignment()
    client.submit("r-1", trace_id=WHOLE)
    h.advance(15.0)
    [told] = [command for command in h.commands if isinstance(command, JobTraced)]
    assert (told.ran_ns, told.node_id, told.error_code) == (None, "", "NO_AVAILABLE_NODE")


def test_without_an_endpoint_nothing_is_told() -> None:
    _, h = one_node()
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-1", trace_id=WHOLE)
    node.end(node.assignment())
    assert not [command for command in h.commands if isinstance(command, JobTraced)]
    assert open_exporter(OtelConfig(), instance="default", process="worker-0") is None


@pytest.mark.parametrize(
    ("text", "trace"),
    [
        (WHOLE, Trace(int(TRACE, 16), int(PARENT, 16))),
        (TRACE, Trace(int(TRACE, 16))),
        (f"00-{TRACE}-{PARENT}-00", None),  # its client did not sample it
        (f"00-{TRACE}-{'0' * 16}-01", None),
        ("0" * 32, None),
        ("my own id", None),
        (TRACE.upper(), None),
    ],
)
def test_only_ids_of_w3c_name_a_trace(text: str, trace: Trace | None) -> None:
    assert trace_of(text) == trace


def test_the_stages_of_a_job_lie_within_it_and_follow_each_other() -> None:
    assert [tuple(stage) for stage in stages_of(ended(), 10_000)] == [
        ("pointsman.job", 5_000, 10_000),
        ("pointsman.wait", 5_000, 6_000),
        ("pointsman.run", 6_000, 10_000),
    ]


def test_a_collector_that_hangs_costs_the_queue_and_nobody_waits() -> None:
    is_sending, may_go_on = threading.Event(), threading.Event()
    given: list[str] = []

    def hang(batch: Sequence[Ended]) -> bool:
        is_sending.set()
        assert may_go_on.wait(PATIENCE_S)
        given.extend(one.job.job_id for one in batch)
        return len(given) > 1  # the first batch is given up

    exporter = SpanExporter(hang, queue_max=3)
    exporter.take(ended(0), 10_000)
    assert is_sending.wait(PATIENCE_S)
    for number in range(1, 10):
        exporter.take(ended(number), 10_000)
    assert exporter.look() == (0, 6), "three wait, the rest is dropped"
    may_go_on.set()
    exporter.close()
    assert exporter.finished.wait(PATIENCE_S)
    assert given == ["j-0", "j-1", "j-2", "j-3"]
    assert exporter.look() == (3, 1)


def test_spans_reach_a_collector_below_the_span_of_the_client() -> None:
    with collector() as (endpoint, came):
        config = OtelConfig(endpoint=endpoint)
        exporter = open_exporter(config, instance="default", process="worker-1")
        assert exporter is not None
        exporter.take(ended(1), 10_000)
        exporter.take(ended(2, "no trace"), 10_000)
        exporter.close()
        assert exporter.finished.wait(PATIENCE_S)
        assert exporter.look() == (1, 0)
    resource = {
        attribute.key: attribute.value.string_value
        for attribute in came[0].resource_spans[0].resource.attributes
    }
    assert resource["service.name"] == "pointsman"
    assert resource["pointsman.process"] == "worker-1"
    spans = {s.name: s for s in came[0].resource_spans[0].scope_spans[0].spans}
    assert set(spans) == {"pointsman.job", "pointsman.wait", "pointsman.run"}
    assert {span.trace_id.hex() for span in spans.values()} == {TRACE}
    whole = spans["pointsman.job"]
    assert whole.parent_span_id.hex() == PARENT
    assert spans["pointsman.run"].parent_span_id == whole.span_id
    assert (whole.start_time_unix_nano, whole.end_time_unix_nano) == (5_000, 10_000)
    attributes = {a.key: a.value.string_value for a in whole.attributes}
    assert attributes["pointsman.node_id"] == "attic"


def test_a_collector_that_is_not_there_is_no_trouble() -> None:
    with collector() as (endpoint, _):
        gone = endpoint
    config = OtelConfig(endpoint=gone, request_s=0.2)
    exporter = open_exporter(config, instance="default", process="worker-0")
    assert exporter is not None
    exporter.take(ended(), 10_000)
    exporter.close()
    assert exporter.finished.wait(PATIENCE_S)
    assert exporter.look() == (0, 1)
