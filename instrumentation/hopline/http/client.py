"""HTTP client telemetry: what one instrumentor has, from the configuration to the metric instruments."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.context import Context, get_current
from opentelemetry.metrics import MeterProvider, get_meter_provider
from opentelemetry.metrics import _internal as metrics
from opentelemetry.propagate import get_global_textmap
from opentelemetry.trace import Span, SpanKind, TracerProvider, get_current_span, get_tracer, get_tracer_provider

from hopline._locks import lasting_lock
from hopline._suppression import is_suppressed
from hopline._version import __version__
from hopline.context import completed
from hopline.destinations import Destination, Destinations
from hopline.http.attributes import SCHEMA_URL
from hopline.http.call import CLIENT_CALL, ClientCall
from hopline.http.config import HttpConfig
from hopline.http.headers import Headers, place, withdraw
from hopline.http.injection import Injection
from hopline.http.instruments import ClientInstruments
from hopline.http.series import Value
from hopline.http.spans import Spans, spans_of
from hopline.request_id import HEADER

_HEADER = HEADER.lower()

# One for all: clients may share a meter, and before 1.45 the SDK cannot make an instrument in two threads at once.
_making = lasting_lock()


class ClientTelemetry:
    """What one HTTP client instrumentor tells, and how.

    Args:
        scope: the name of its instrumentation scope, for instance ``hopline.requests``.
        config: how to tell it.
        tracer_provider: makes the tracer (default: the global one).
        meter_provider: makes the instruments (default: the global one).

    Attributes:
        active: the calls that have an attempt on the wire.
        destination: tells where a request for a URL goes.
        spans: makes the spans, once there is somebody to hear of them.
        instruments: the metric instruments, from then on.
    """

    spans: Spans
    instruments: ClientInstruments

    def __init__(
        self,
        scope: str,
        config: HttpConfig,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        self.config = config
        self.active: set[ClientCall] = set()
        self._scope = scope
        self._providers = tracer_provider, meter_provider
        get_tracer_provider(), get_meter_provider()  # which load those that the environment names
        self._is_heard = False
        self.destination = Destinations(config.rules).of
        self._injection: Injection | None = None

    def start(
        self,
        method: str,
        url: str,
        headers: Headers,
        request: object,
        template: str | None = None,
        context: Context | None = None,
    ) -> ClientCall | None:
        """Start a call: its span starts and ``headers`` get what is propagated.

        Args:
            method: the request's method.
            url: the absolute URL.
            headers: the header that will be sent, changed in place.
            request: the library's own request, for the hooks.
            template: the URL's template, where the call itself names one.
            context: the current context, where it is known already.

        Returns:
            The call, or None if there is nothing to tell: instrumentation is suppressed, the URL excluded, or there
            is nobody to tell it to, as long as the application sets no provider.
        """
        if context is None:
            context = get_current()
        if context and _is_left_alone(context):
            withdraw(headers)
            return None
        if self.config.excluded is not None and self.excludes(url):
            self.inject_excluded(url, headers, context)
            return None
        context = completed(context)
        if not self._is_heard and not self._listen():
            self.inject(self.destination(url), headers, context, get_current_span(context))
            return None
        call = ClientCall(self, context, template)
        call.begin(method, url, headers, request)
        return call

    def excludes(self, url: str) -> bool:
        """Whether ``url`` is one that gets no span."""
        excluded = self.config.excluded
        return excluded is not None and excluded.search(url) is not None

    def inject_excluded(self, url: str, headers: Headers, context: Context) -> None:
        """Put what is propagated into the header of a request that gets no span, if it is to have any."""
        if self.config.propagate_to_excluded:
            self.inject(self.destination(url), headers, context, get_current_span(context))
        else:
            withdraw(headers)  # what the hop before had does not go along

    def inject(self, destination: Destination, headers: Headers, context: Context, span: Span) -> str | None:
        """Put what is propagated, and may go to ``destination``, into ``headers``.

        Args:
            destination: where the request goes.
            headers: the header that will be sent, changed in place.
            context: what is propagated.
            span: the span that is current in ``context``.

        Returns:
            The request id that will be sent, ours or the one that the user set in its place; where none is, the one
            that holds here, or None.
        """
        propagator = get_global_textmap()
        injection = self._injection
        if injection is None or injection.propagator is not propagator:
            injection = self._injection = Injection(propagator)
        values, request_id = injection.values(context, span)
        permitted = destination.permitted(values) if destination.denied else values
        users = place(permitted, injection.fields, headers)
        if HEADER not in permitted:
            return request_id
        return headers[HEADER] if _HEADER in users else permitted[HEADER]

    def close(self) -> None:
        """Tell nothing any more when metrics are collected."""
        if self._is_heard:
            self.instruments.close()

    def _listen(self) -> bool:
        """Whether there is by now somebody to hear; if so, make what is told to them."""
        if not self._has_hearer():
            return False
        tracers, meters = self._providers
        with _making:
            if not self._is_heard:
                tracer = get_tracer(self._scope, __version__, tracers, schema_url=SCHEMA_URL)
                self.spans = spans_of(tracer, SpanKind.CLIENT)
                self.instruments = ClientInstruments(self._scope, self.config, self._active_attributes, meters)
                self._is_heard = True  # last: from here on other threads do without the lock
        return True

    def _has_hearer(self) -> bool:
        """Whether there is a provider, or a hook."""
        tracers, meters = self._providers
        return (
            tracers is not None
            or meters is not None
            # What the API's own functions return; they look into the environment each time, 2 µs for the two of them.
            or trace._TRACER_PROVIDER is not None
            or metrics._METER_PROVIDER is not None
            or self.config.request_hook is not None
            or self.config.response_hook is not None
        )

    def _active_attributes(self) -> list[Mapping[str, Value]]:
        return [call.operation.metric_attributes for call in list(self.active)]


def _is_left_alone(context: Context) -> bool:
    if is_suppressed(context):
        return True
    marker = context.get(CLIENT_CALL)
    # A call of ours suppresses the instrumentations below it, not another call that is made while it lasts,
    # such as one that fetches a token.
    return bool(marker) and type(marker) is not ClientCall
