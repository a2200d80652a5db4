"""The words of HTTP telemetry: attributes, span names and status rules of the OpenTelemetry semantic conventions.

What depends only on the destination, the method, the status and the protocol version is made once and kept.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache

from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.attributes.http_attributes import (
    HTTP_REQUEST_METHOD,
    HTTP_REQUEST_METHOD_ORIGINAL,
    HTTP_RESPONSE_STATUS_CODE,
)
from opentelemetry.semconv.attributes.network_attributes import NETWORK_PROTOCOL_VERSION
from opentelemetry.semconv.attributes.server_attributes import SERVER_ADDRESS, SERVER_PORT
from opentelemetry.semconv.attributes.url_attributes import URL_FULL
from opentelemetry.semconv.schemas import Schemas

from hopline.destinations import Destination
from hopline.http.series import Series, Value

SCHEMA_URL = Schemas.V1_38_0.value
OUTCOME = "hopline.outcome"
CANCELLED = "cancelled"
PEER_SERVICE = "peer.service"

# How long the phases of an attempt took, in seconds; only those that happened.
PHASE_QUEUE = "hopline.phase.queue"  # waiting for a connection of the pool to be free
PHASE_DNS = "hopline.phase.dns"
PHASE_CONNECT = "hopline.phase.connect"
PHASE_TLS = "hopline.phase.tls"
PHASE_HEADERS = "hopline.phase.headers"  # from the start of the attempt to the response's header
PHASE_BODY = "hopline.phase.body"  # from the response's header to its body's end, where the call itself reads it
REQUEST_BODY_SIZE = "http.request.body.size"
RESPONSE_BODY_SIZE = "http.response.body.size"
CONNECTION_REUSED = "hopline.connection.reused"
DNS_CACHE_HIT = "hopline.dns.cache_hit"
URL_TEMPLATE = "url.template"

KNOWN_METHODS = frozenset(("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"))
OTHER_METHOD = "_OTHER"

# The names before the conventions became stable, for OTEL_SEMCONV_STABILITY_OPT_IN=http/dup.
COMMON_OLD_NAMES = {
    HTTP_REQUEST_METHOD: "http.method",
    HTTP_RESPONSE_STATUS_CODE: "http.status_code",
    NETWORK_PROTOCOL_VERSION: "http.flavor",
}
_OLD_NAMES = {
    **COMMON_OLD_NAMES,
    SERVER_ADDRESS: "net.peer.name",
    SERVER_PORT: "net.peer.port",
    URL_FULL: "http.url",
}

# Beyond these bounds, which only a hostile peer or caller reaches, things are made anew each time.
_MAX_OPERATIONS = 256
_MAX_OUTCOMES = 128

_NO_SERIES = Series({})

# status, protocol version, error type, whether the status is expected
_Ending = tuple[int | None, str | None, str | None, bool]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt ended: a status, a protocol version and perhaps an error, as attributes.

    Attributes:
        span_attributes: what the span gets at its end.
        series: all that the duration histogram gets.
        old_series: the same by the names from before the conventions became stable, where those are told too.
        is_error: whether the span's status is ERROR.
    """

    span_attributes: Mapping[str, Value]
    series: Series
    old_series: Series
    is_error: bool

    @classmethod
    def of(
        cls, span_attributes: Mapping[str, Value], metric_attributes: Mapping[str, Value], old_names: Mapping[str, str]
    ) -> Outcome:
        """Make it of what a span and a metric get, and the names from before by the stable ones (none to tell none)."""
        series, is_error = Series(metric_attributes), ERROR_TYPE in span_attributes
        if not old_names:
            return cls(span_attributes, series, _NO_SERIES, is_error)
        told = {**span_attributes, **renamed(span_attributes, old_names)}
        return cls(told, series, Series(renamed(metric_attributes, old_names)), is_error)


class Operation:
    """One method on one destination: its span's name and first attributes, and the outcomes met so far.

    Attributes:
        origin: the attributes that tell the destination.
    """

    __slots__ = ("_old_names", "_outcomes", "attributes", "metric_attributes", "origin", "span_name")

    def __init__(self, method: str, template: str | None, destination: Destination, words: Words) -> None:
        spoken = words.method(method)
        name = "HTTP" if spoken == OTHER_METHOD else spoken
        self.span_name = name if template is None else f"{name} {template}"
        self.origin = _origin(destination)
        self.metric_attributes: dict[str, Value] = {HTTP_REQUEST_METHOD: spoken, **self.origin}
        if template is not None:
            self.metric_attributes[URL_TEMPLATE] = template
        original = {} if spoken == method else {HTTP_REQUEST_METHOD_ORIGINAL: method}
        self.attributes = words.spoken({**self.metric_attributes, **original})
        self._old_names = _OLD_NAMES if words.old_names else {}
        self._outcomes: dict[_Ending, Outcome] = {}

    def outcome(
        self, status: int | None, version: str | None, error_type: str | None = None, *, expected: bool = False
    ) -> Outcome:
        """How a response, an error or both are told; neither of them means that the caller cancelled the call.

        Args:
            status: the response's status code, or None if there was no response.
            version: the protocol version, for instance ``1.1``, if known.
            error_type: the fully-qualified name of the exception that ended the attempt, if one did.
            expected: whether the status is no error, though it is 400 or more.
        """
        key = (status, version, error_type, expected)
        return self._outcomes.get(key) or self._met(key)

    def _met(self, key: _Ending) -> Outcome:
        ending = _told(*key)
        outcome = Outcome.of(ending, {**self.metric_attributes, **ending}, self._old_names)
        if len(self._outcomes) < _MAX_OUTCOMES:
            self._outcomes[key] = outcome
        return outcome


@dataclass(frozen=True, slots=True)
class Words:
    """Which words one configuration speaks.

    Attributes:
        known_methods: the methods that keep their name; others become ``_OTHER``.
        old_names: also give each attribute its name from before the conventions became stable.
    """

    known_methods: Collection[str] = KNOWN_METHODS
    old_names: bool = False

    def operation(self, method: str, template: str | None, destination: Destination) -> Operation:
        """One method, and perhaps one URL template, on one destination, prepared when it is first met."""
        prepared: Operation | None = destination.operations.get((method, template))
        if prepared is not None:
            return prepared
        operation = Operation(method, template, destination, self)
        if len(destination.operations) < _MAX_OPERATIONS:
            destination.operations[method, template] = operation
        return operation

    def method(self, method: str) -> str:
        """The value of ``http.request.method``: a known method, in its own case, or ``_OTHER``."""
        if method in self.known_methods:
            return method
        return method.upper() if method.upper() in self.known_methods else OTHER_METHOD

    def spoken(self, attributes: Mapping[str, Value]) -> dict[str, Value]:
        """``attributes``, with their old names beside them if this configuration asks for that."""
        return {**attributes, **renamed(attributes, _OLD_NAMES)} if self.old_names else dict(attributes)


# One for all destinations, so that it is in the processor's caches wherever a request goes. Typed: who answers with an
# HTTPStatus, which equals a number, is told of alone.
@lru_cache(_MAX_OUTCOMES, typed=True)
def _told(status: int | None, version: str | None, error_type: str | None, expected: bool) -> Mapping[str, Value]:
    if error_type is None and status is not None and status >= 400 and not expected:
        error_type = str(status)
    return known(
        {
            HTTP_RESPONSE_STATUS_CODE: status,
            NETWORK_PROTOCOL_VERSION: version,
            ERROR_TYPE: error_type,
            OUTCOME: CANCELLED if status is None and error_type is None else None,
        }
    )


def _origin(destination: Destination) -> Series:
    return Series(
        known({SERVER_ADDRESS: destination.host, SERVER_PORT: destination.port, PEER_SERVICE: destination.name})
    )


def renamed(attributes: Mapping[str, Value], names: Mapping[str, str]) -> dict[str, Value]:
    """Those of ``attributes`` that have another name in ``names``, by that."""
    return {names[name]: value for name, value in attributes.items() if name in names}


def known(attributes: Mapping[str, Value | None]) -> dict[str, Value]:
    """``attributes`` without those that are None or empty."""
    return {name: value for name, value in attributes.items() if value is not None and value != ""}
