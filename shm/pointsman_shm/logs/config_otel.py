"""The section `[otel]`: where spans of jobs are sent that carry a W3C trace id."""

from typing import Annotated

import msgspec


class OtelConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Spans to an OpenTelemetry collector, by workers; needs `pip install 'pointsman[otel]'`."""

    # OTLP over HTTP, as "http://127.0.0.1:4318/v1/traces"; "": no spans are made.
    endpoint: Annotated[str, msgspec.Meta(pattern=r"^(https?://\S{1,2000})?$")] = ""
    # Ended jobs that wait to be sent, per worker; those above it are dropped, and counted.
    queue_max: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 2_048
    request_s: Annotated[float, msgspec.Meta(ge=0.1, le=60)] = 5.0  # then a batch is given up
