"""The collector of OpenTelemetry, spoken to by OTLP over HTTP; imported only where it is used."""

from collections.abc import Callable, Iterator, Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from pointsman_shm.logs.config_otel import OtelConfig
from pointsman_workers.shell.tracing.exporter import Ended
from pointsman_workers.shell.tracing.spans import Stage, attributes_of, stages_of

SPAN_ID_BYTES = 8
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class Collector:
    """Sends spans; headers with a secret are OTEL_EXPORTER_OTLP_HEADERS of the environment."""

    def __init__(
        self,
        config: OtelConfig,
        *,
        instance: str,
        process: str,
        entropy: Callable[[int], bytes],
    ) -> None:
        self._exporter = OTLPSpanExporter(endpoint=config.endpoint, timeout=config.request_s)
        self._resource = Resource(
            {
                "service.name": "pointsman",
                "service.namespace": instance,
                "pointsman.process": process,
            }
        )
        self._entropy = entropy

    def send(self, batch: Sequence[Ended]) -> bool:
        """Send the spans of these jobs; False when the collector did not take them."""
        spans = [span for ended in batch for span in self._spans(ended)]
        try:
            return self._exporter.export(spans) is SpanExportResult.SUCCESS
        except OSError:  # what its client of HTTP raises is one
            return False

    def _spans(self, ended: Ended) -> Iterator[ReadableSpan]:
        """Return its spans: that of the whole job, and the stages below it."""
        trace = ended.trace
        parent = self._context(trace.trace, trace.parent) if trace.parent else None
        first, *stages = stages_of(ended.job, ended.ended_ns)
        whole = self._context(trace.trace, self._new_id())
        yield self._span(ended, first, whole, parent)
        for stage in stages:
            yield self._span(ended, stage, self._context(trace.trace, self._new_id()), whole)

    def _span(
        self, ended: Ended, stage: Stage, context: SpanContext, parent: SpanContext | None
    ) -> ReadableSpan:
        code = StatusCode.ERROR if ended.job.error_code else StatusCode.OK
        return ReadableSpan(
            stage.name,
            context=context,
            parent=parent,
            resource=self._resource,
            attributes=attributes_of(ended.job),
            kind=SpanKind.SERVER if parent is None or parent.is_remote else SpanKind.INTERNAL,
            status=Status(code, ended.job.error_code or None),
            start_time=stage.began_ns,
            end_time=stage.ended_ns,
        )

    def _context(self, trace: int, span: int) -> SpanContext:
        return SpanContext(trace, span, is_remote=False, trace_flags=_SAMPLED)

    def _new_id(self) -> int:
        """A span of 0 is none."""
        return int.from_bytes(self._entropy(SPAN_ID_BYTES)) or 1
