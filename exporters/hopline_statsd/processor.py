"""Every call counted, sampled or not: the span processor that makes statsd lines, and its sampler."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind
from opentelemetry.trace.span import TraceState
from opentelemetry.util.types import Attributes

from hopline_statsd.budget import NameBudget
from hopline_statsd.config import StatsdConfig
from hopline_statsd.exits import EXIT_TIMEOUT, close_with
from hopline_statsd.guard import Guard
from hopline_statsd.sender import Sender
from hopline_statsd.span_lines import SpanLines
from hopline_statsd.stats import StatsdStats
from hopline_statsd.telemetry import observe

_MAX_RESOURCES = 16


class StatsdSpanProcessor(SpanProcessor):
    """Makes the statsd lines of each span as it ends, in the thread that ends it: no queue to overflow.

    It takes spans that are recorded but not sampled, too; `recording_sampler` has those recorded that make
    lines.

    Args:
        config: The settings; those of the environment by default.
        meter_provider: Where the exporter's own counts go; the global one by default.
    """

    def __init__(self, config: StatsdConfig | None = None, meter_provider: MeterProvider | None = None) -> None:
        self.config = StatsdConfig.from_environment() if config is None else config
        self._budget = NameBudget(self.config.max_names)
        self._sender = Sender(self.config)
        self._entries = self._sender.entries
        self._room = self._sender.room
        self._lines_by_resource: dict[int, tuple[Resource, SpanLines]] = {}
        self._current = self._lines_for(Resource.get_empty())
        self._guard = Guard("a span makes no statsd line", self._sender.tally)
        self._takes_all = self.config.unsampled
        self._finalizer = close_with(self, self._sender.close)
        observe("hopline_statsd.processor", self._sender.stats, meter_provider)

    def recording_sampler(self, sampler: Sampler) -> Sampler:
        """Have the spans recorded that a sampler drops, as far as they make statsd lines.

        Args:
            sampler: The sampler that decides what is exported, and goes on to.

        Returns:
            A sampler for the tracer provider; the very same one where `config.unsampled` is false.
        """
        if not self.config.unsampled:
            return sampler
        return RecordingSampler(sampler, self._current[1].kinds)

    def on_end(self, span: ReadableSpan) -> None:
        """Make the lines of an ended span. It raises nothing and waits for nothing."""
        try:
            if not (self._takes_all or span.context.trace_flags.sampled):
                return
            resource, span_lines = self._current
            if span._resource is not resource:
                span_lines = self._lines_for(span.resource)[1]
            lines = span_lines.of(span)
            if lines:
                entries = self._entries
                entries += lines
                if len(entries) > self._room[0]:
                    self._sender.relieve(len(lines))
        except Exception as error:  # noqa: BLE001  an error of ours must not reach the application
            self._guard.caught(error)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Send the lines that are there.

        Args:
            timeout_millis: How long to wait at most, in milliseconds.

        Returns:
            Whether all of them were handed to the system.
        """
        return self._sender.flush(timeout_millis / 1000)

    def shutdown(self) -> None:
        """Send the lines that are there and close the socket; once is enough."""
        self._finalizer.detach()
        self._sender.close(EXIT_TIMEOUT)

    def stats(self) -> StatsdStats:
        """Return what this process has sent and dropped so far."""
        return self._sender.stats()

    def _lines_for(self, resource: Resource) -> tuple[Resource, SpanLines]:
        known = self._lines_by_resource.get(id(resource))
        if known is None:
            if len(self._lines_by_resource) >= _MAX_RESOURCES:
                self._lines_by_resource.clear()
            span_lines = SpanLines(self.config, resource.attributes, self._budget, self._sender.tally)
            known = self._lines_by_resource[id(resource)] = (resource, span_lines)
        self._current = known
        return known


class RecordingSampler(Sampler):
    """Has spans recorded that another sampler would drop; what is sampled, and so exported, stays as it was.

    A span that is recorded but not sampled (`Decision.RECORD_ONLY`) reaches span processors, but neither an
    exporter nor, as `sampled`, the next service.

    Args:
        sampler: Decides what is sampled.
        kinds: The span kinds to record; all by default.
    """

    def __init__(self, sampler: Sampler, kinds: frozenset[SpanKind] = frozenset(SpanKind)) -> None:
        self._sampler = sampler
        # By identity: the hash of an Enum member is computed in Python.
        self._kinds = frozenset(id(kind) for kind in kinds)

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Return what the other sampler decides, with `RECORD_ONLY` in place of `DROP`."""
        result = self._sampler.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)
        if result.decision is not Decision.DROP or id(kind or SpanKind.INTERNAL) not in self._kinds:
            return result
        # A sampler that drops a span returns none of its attributes.
        return SamplingResult(Decision.RECORD_ONLY, attributes, result.trace_state)

    def get_description(self) -> str:
        """Return the other sampler's description, and that its drops are recorded."""
        return f"Recording{{{self._sampler.get_description()}}}"
