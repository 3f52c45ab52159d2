"""Starts tracing as the settings and the standard `OTEL_…` variables say; OpenTelemetry is imported here or nowhere."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from consumer.errors import StartError


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.sdk.trace import SpanProcessor

    from consumer.engine.ports import Judge
    from consumer.engine.way import Way
    from consumer.moderation.calling.exchange import Exchange


__all__ = ["Tracing"]


_EXPORTERS = ("otlp", "none")
_PROTOCOL = "http/protobuf"


class Tracing:
    """The parts that trace, to be put in the places of those that do not."""

    def __init__(self, *, group_id: str, processor: SpanProcessor | None = None) -> None:
        """Start tracing.

        Args:
            group_id: the consumer group, which each event's span names.
            processor: what takes the spans; the exporter that the environment names, where it is not given.

        Raises:
            StartError: OpenTelemetry is not installed, or its variables ask for what is not there.
        """
        try:
            from opentelemetry.sdk.resources import Resource  # noqa: PLC0415  # only where tracing is on
            from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415  # the same

            from consumer.tracing import seams  # noqa: PLC0415  # the same
            from consumer.tracing.spans import Spans  # noqa: PLC0415  # the same
        except ImportError as error:
            raise _not_installed(error) from None
        name = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "moderation-consumer"}
        if "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
            name = {}
        provider = TracerProvider(resource=Resource.create(name), shutdown_on_exit=False)
        processor = processor or _exporter(os.environ)
        if processor is not None:
            provider.add_span_processor(processor)
        self._spans = Spans(provider, group_id=group_id)
        self.way: Callable[..., Way] = partial(seams.TracedWay, self._spans)
        """Makes the way of events."""
        self.exchange: Callable[..., Exchange] = partial(seams.TracedExchange, self._spans)
        """Makes what sends single requests."""
        self.judge: Callable[[Judge], Judge] = seams.TracedJudge
        """Makes a judge out of another."""

    async def close(self, seconds: float) -> None:
        """Export what has ended, for at most so long; what could not be exported by then is lost. So it is on cancel.

        Raises:
            TimeoutError: there was not time enough.
        """
        await self._spans.close(seconds)


def _exporter(environ: Mapping[str, str]) -> SpanProcessor | None:
    """The exporter by OTLP over HTTP, with a thread of its own; None where spans are only to be carried on.

    Raises:
        StartError: the environment asks for another one, or does not make sense.
    """
    wanted = environ.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    if wanted not in _EXPORTERS:
        raise StartError(
            "$OTEL_TRACES_EXPORTER names an exporter that there is none of here", f"use {' or '.join(_EXPORTERS)}"
        )
    if wanted == "none":
        return None
    for variable in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if environ.get(variable, _PROTOCOL).strip() not in {"", _PROTOCOL}:
            raise StartError(
                f"${variable} names a protocol that is not spoken here",
                f"use {_PROTOCOL}, and the port of the collector that takes it, usually 4318",
            )
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415  # only where tracing is on
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415  # the same
    except ImportError as error:
        raise _not_installed(error) from None
    try:
        return BatchSpanProcessor(OTLPSpanExporter())
    except (ValueError, TypeError, OSError) as error:
        # Their messages may quote a header, and so a token.
        raise StartError(
            f"the exporter of traces cannot be made ({type(error).__name__})",
            "look at the variables that begin with OTEL_EXPORTER_OTLP_ and OTEL_BSP_",
        ) from None


def _not_installed(error: ImportError) -> StartError:
    return StartError(
        f"tracing needs OpenTelemetry, and {error.name or 'a part of it'} is not installed",
        "pip install 'moderation-consumer[tracing]', or set tracing.enabled to false",
    )
