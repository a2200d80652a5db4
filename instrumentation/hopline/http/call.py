"""One call of the application through an HTTP client, and its attempts: the requests that it puts on the wire.

Each attempt (the first, and each redirect hop, retry or authentication resend) has a span of its own; they are
siblings under the caller's span.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from time import perf_counter_ns, time_ns
from typing import TYPE_CHECKING, Any, cast

from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY as _SUPPRESS_HTTP
from opentelemetry.context import Context, set_value
from opentelemetry.semconv.attributes.http_attributes import HTTP_REQUEST_RESEND_COUNT
from opentelemetry.semconv.attributes.url_attributes import URL_FULL
from opentelemetry.trace import Link, Span, StatusCode
from opentelemetry.trace.propagation import _SPAN_KEY as _SPAN

from hopline._errors import error_type_of
from hopline._guard import guard
from hopline.hints import current_hints
from hopline.http.attributes import PHASE_BODY, PHASE_HEADERS, RESPONSE_BODY_SIZE, Operation, Outcome
from hopline.http.headers import Headers
from hopline.http.instruments import Sizes
from hopline.http.redaction import description_of, redact_url
from hopline.http.series import Value
from hopline.request_id import REQUEST_ID

if TYPE_CHECKING:
    from hopline.destinations import Destination
    from hopline.http.arguments import Hook
    from hopline.http.client import ClientTelemetry
    from hopline.http.config import HttpConfig

CLIENT_CALL = _SUPPRESS_HTTP
"""Where the context of an attempt holds its call; other instrumentations take it for the word to keep silent."""


class ClientCall:
    """One call of the application, and the attempt that is on the wire.

    Args:
        telemetry: what the call is told to.
        parent: the caller's context.
        template: the template of the call's URL, where the call itself names one.

    Attributes:
        telemetry: what the call is told to.
        method: the attempt's method.
        url: the attempt's URL.
        request: the library's own request of the attempt.
        destination: where the attempt goes.
        context: the context to be current while the attempt lasts: the span is current in it, and other
            instrumentations of HTTP are suppressed.
        operation: what the attempt does, where.
        details: what the library room learns of the attempt on its way: span attributes, such as its phases.
        sizes: the bytes of the attempt's request and response bodies, each None while it is not known.
        progress: what the library room itself keeps of the call.
    """

    method: str
    url: str
    request: Any
    destination: Destination
    context: Context
    operation: Operation
    details: dict[str, Value]
    _clock: int
    _duration: int | None
    _expected: Collection[int]
    _first_url: str
    _start: int

    # What most calls never set stands on the class, so that making a call does not set it either.
    sizes: Sizes = (None, None)
    progress: Any = None
    _previous: Span | None = None
    _span: Span | None = None
    _resends = 0

    def __init__(self, telemetry: ClientTelemetry, parent: Context, template: str | None = None) -> None:
        self.telemetry = telemetry
        self._parent = parent
        self._template = template

    def begin(self, method: str, url: str, headers: Headers, request: object) -> None:
        """Begin an attempt; the arguments are those of :meth:`ClientTelemetry.start`."""
        telemetry = self.telemetry
        self._aim(method, url, request)
        attributes = self._attributes(url, headers)
        links = () if self._previous is None else (Link(self._previous.get_span_context()),)
        self._start, self._clock = time_ns(), perf_counter_ns()
        span = self._span = telemetry.spans.start(
            self.operation.span_name, self._parent, attributes, self._start, links
        )
        # One copy for both keys, 0.6 µs less than the API's set_span_in_context and set_value one after the other.
        self.context = Context({**self._parent, _SPAN: span, CLIENT_CALL: self})
        if telemetry.config.request_hook is not None:
            self._tell(telemetry.config.request_hook, request)
        request_id = telemetry.inject(self.destination, headers, self.context, span)
        if request_id is not None:
            self.details[REQUEST_ID] = request_id
        telemetry.active.add(self)

    def resend(self, method: str, url: str, headers: Headers, request: object) -> None:
        """Begin the next attempt of the same call, once the one before has ended."""
        if self._resends == 0:
            self._first_url = self.url
        self._resends += 1
        self.sizes = (None, None)
        if self.telemetry.excludes(url):
            self._aim(method, url, request)  # whose connections are counted all the same
            self.context = set_value(CLIENT_CALL, self, self._parent)
            self.telemetry.inject_excluded(url, headers, self._parent)
        else:
            self.begin(method, url, headers, request)

    def headers_sent(self, headers: Mapping[str, str]) -> None:
        """Note the header as it goes out, for a library that completes it after the attempt has begun."""
        captured = self.telemetry.config.request_headers
        if captured is not None and self._span is not None:
            self._span.set_attributes(captured.attributes(headers))

    def url_changed(self, url: str) -> None:
        """Note the URL that is asked for, for a library that changes its query after the attempt has begun.

        Args:
            url: the absolute URL, with the same origin.
        """
        self.url = url
        if self._span is not None:
            config = self.telemetry.config
            self._span.set_attributes(config.words.spoken(_recorded(url, config)))

    def headers_arrived(self) -> None:
        """Note that the response's header is here."""
        self.details[PHASE_HEADERS] = (perf_counter_ns() - self._clock) / 1e9

    def body_arrived(self, size: int) -> None:
        """Note that the response's body is here, which the call itself has read.

        Args:
            size: its bytes on the wire.
        """
        headers = self.details.get(PHASE_HEADERS)
        if isinstance(headers, float) and self._duration is None:
            self.stop()
            self.details[PHASE_BODY] = cast(int, self._duration) / 1e9 - headers
        self.details[RESPONSE_BODY_SIZE] = size

    def stop(self, at: int | None = None) -> None:
        """Stop the attempt's clock: it is over, though how it is told may still depend on what follows.

        Args:
            at: when it was over, in nanoseconds of the performance counter (default: now).
        """
        if self._duration is None:
            self._duration = (perf_counter_ns() if at is None else at) - self._clock

    def finish(
        self, status: int | None, version: str | None, headers: Mapping[str, str], response: object = None
    ) -> Outcome | None:
        """End the attempt with a response.

        Args:
            status: its status code; None if the library has made up a response without one.
            version: its protocol version, for instance ``1.1``, if known.
            headers: its header.
            response: the library's own response, for the hook; None if it makes none of this one.

        Returns:
            How it ended, or None if it had ended before.
        """
        span, config = self._span, self.telemetry.config
        if span is None:
            return None
        if self._duration is None:
            self.stop()
        if config.response_headers is not None and span.is_recording():
            span.set_attributes(config.response_headers.attributes(headers))
        if config.response_hook is not None and response is not None:
            self._tell(config.response_hook, self.request, response)
        return self._end(self.operation.outcome(status, version, expected=status in self._expected))

    def fail(self, error: BaseException, status: int | None = None, version: str | None = None) -> Outcome | None:
        """End the attempt with an exception, which may come after a response.

        Args:
            error: what the application will get.
            status: the response's status code, if there was one.
            version: the response's protocol version, if known.

        Returns:
            How it ended, or None if it had ended before.
        """
        if self._span is None:
            return None
        return self._end(self.operation.outcome(status, version, error_type_of(error)), description_of(error))

    def cancel(self) -> Outcome | None:
        """End the attempt because the caller gave it up, which is no error.

        Returns:
            How it ended, or None if it had ended before.
        """
        return None if self._span is None else self._end(self.operation.outcome(None, None))

    def tell_hook(self, answer: object) -> None:
        """Call the response hook before an end that has no response, for a library that tells its hooks of those.

        Args:
            answer: what the hook gets in place of the response.
        """
        hook = self.telemetry.config.response_hook
        if hook is not None and self._span is not None:
            self._tell(hook, self.request, answer)

    def _aim(self, method: str, url: str, request: object) -> None:
        self.method, self.url, self.request = method, url, request
        self.destination = self.telemetry.destination(url)
        self._name()
        self._duration, self.details = None, {}

    def _tell(self, hook: Hook, *arguments: object) -> None:
        try:
            guard(hook, self._span, *arguments)
        except BaseException as error:
            # Such as a greenlet's time-out, which strikes wherever it is due.
            self.fail(error)
            raise

    def _name(self) -> None:
        destination = self.destination
        hints = current_hints()
        template = self._template or (None if hints is None else hints.template)
        if self._resends and _without_fragment(self.url) != _without_fragment(self._first_url):
            template = None  # the caller has named the URL that it asked for, not where a redirect leads
        if template is None and destination.templates:
            template = destination.template(self.url)
        self.operation = self.telemetry.config.words.operation(self.method, template, destination)
        self._expected = destination.expected if hints is None else destination.expected | hints.expected

    def _attributes(self, url: str, headers: Headers) -> dict[str, Any]:
        config = self.telemetry.config
        attributes: dict[str, Any] = {**self.operation.attributes}
        if config.url_filter is None and not config.words.old_names:
            attributes[URL_FULL] = redact_url(url)
        else:
            attributes.update(config.words.spoken(_recorded(url, config)))
        if self._resends:
            attributes[HTTP_REQUEST_RESEND_COUNT] = self._resends
        if config.request_headers is not None:
            attributes.update(config.request_headers.attributes(headers))
        return attributes

    def _end(self, outcome: Outcome, description: str | None = None) -> Outcome:
        if self._duration is None:
            self.stop()
        span, duration, telemetry = self._span, self._duration, self.telemetry
        assert span is not None
        assert duration is not None
        self._span, self._previous = None, span
        telemetry.active.discard(self)
        if span.is_recording():
            details = self.details
            told = {**outcome.span_attributes, **details} if details else outcome.span_attributes
            telemetry.spans.add(span, told)
            if outcome.is_error:
                span.set_status(StatusCode.ERROR, description)
        span.end(self._start + duration)
        telemetry.instruments.record(duration, outcome, self.sizes, self.details, self.operation.origin, self.context)
        # The attempt's context refers to this call: without this, only the garbage collector would free them.
        self.context = self._parent
        return outcome


def _without_fragment(url: str) -> str:
    return url.partition("#")[0]  # which is never sent: some libraries keep it with the URL, some do not


def _recorded(url: str, config: HttpConfig) -> dict[str, Value]:
    if config.url_filter is None:
        return {URL_FULL: redact_url(url)}
    filtered = guard(config.url_filter, url)
    # A filter that fails would have hidden something.
    return {URL_FULL: redact_url(filtered)} if isinstance(filtered, str) else {}
