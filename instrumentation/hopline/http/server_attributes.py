"""The words of HTTP server telemetry: attributes, span names and status rules of the semantic conventions.

What depends only on the method, the scheme, the route and the status is made once and kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from opentelemetry.semconv.attributes.client_attributes import CLIENT_ADDRESS
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.attributes.http_attributes import (
    HTTP_REQUEST_METHOD,
    HTTP_REQUEST_METHOD_ORIGINAL,
    HTTP_RESPONSE_STATUS_CODE,
    HTTP_ROUTE,
)
from opentelemetry.semconv.attributes.network_attributes import (
    NETWORK_PEER_ADDRESS,
    NETWORK_PEER_PORT,
    NETWORK_PROTOCOL_VERSION,
)
from opentelemetry.semconv.attributes.server_attributes import SERVER_ADDRESS, SERVER_PORT
from opentelemetry.semconv.attributes.url_attributes import URL_PATH, URL_QUERY, URL_SCHEME
from opentelemetry.semconv.attributes.user_agent_attributes import USER_AGENT_ORIGINAL

from hopline.http.attributes import COMMON_OLD_NAMES, OTHER_METHOD, OUTCOME, Outcome, Words, known, renamed
from hopline.http.forwarded import Forwarded
from hopline.http.redaction import redact_query
from hopline.http.series import Value
from hopline.http.server_request import ServerRequest

INTERFACE = "hopline.server.interface"
CLOSE_CODE = "hopline.websocket.close_code"

# The names before the conventions became stable, for OTEL_SEMCONV_STABILITY_OPT_IN=http/dup.
_OLD_NAMES = {
    **COMMON_OLD_NAMES,
    CLIENT_ADDRESS: "http.client_ip",
    NETWORK_PEER_ADDRESS: "net.peer.ip",
    NETWORK_PEER_PORT: "net.peer.port",
    SERVER_ADDRESS: "net.host.name",
    SERVER_PORT: "net.host.port",
    URL_SCHEME: "http.scheme",
    USER_AGENT_ORIGINAL: "http.user_agent",
}
_TARGET = "http.target"

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_CONNECTIONS = frozenset(("ws", "wss"))
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})]|([A-Za-z0-9._-]{1,255}))(?::([0-9]{1,5}))?")
_IP = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(?:%[\w.-]+)?")

# Beyond these bounds, which only a hostile client reaches, things are made anew each time.
_MAX_OPERATIONS = 64
_MAX_OUTCOMES = 1024
_MAX_HOSTS = 1024
_MAX_METHOD = 64
_MAX_PORT = 65_535


class Ending(NamedTuple):
    """How one request ended; what is None is unknown or did not happen."""

    status: int | None
    """The response's status code."""
    version: str | None
    """The request's protocol version."""
    route: str | None
    """The route that was taken."""
    error: str | None
    """``error.type``, where the status alone does not say it."""
    outcome: str | None
    """Why there may be no full response, where nobody is to blame."""


class ServerOperation:
    """One method over one scheme: its span's name and first attributes, and the outcomes met so far.

    Attributes:
        is_connection: whether it is a WebSocket: however long that stays, the histogram of durations is not for it.
    """

    __slots__ = ("_old_names", "_outcomes", "active", "attributes", "is_connection", "method", "span_name")

    def __init__(self, method: str, scheme: str, words: Words) -> None:
        self._old_names = _OLD_NAMES if words.old_names else {}
        self._outcomes: dict[Ending, Outcome] = {}
        self.is_connection = scheme in _CONNECTIONS
        self.method = words.method(method)
        self.span_name = "HTTP" if self.method == OTHER_METHOD else self.method
        self.active: dict[str, Value] = {HTTP_REQUEST_METHOD: self.method, URL_SCHEME: scheme}
        attributes = dict(self.active)
        if self.method != method:
            attributes[HTTP_REQUEST_METHOD_ORIGINAL] = method[:_MAX_METHOD]
        self.attributes = {**attributes, **renamed(attributes, self._old_names)}

    def outcome(self, ending: Ending) -> Outcome:
        """How ``ending`` is told."""
        return self._outcomes.get(ending) or self._met(ending)

    def _met(self, ending: Ending) -> Outcome:
        status, version, route, error, why = ending
        # A response of 4xx is the client's error, none of the server's.
        error = str(status) if error is None and status is not None and status >= 500 else error
        span_attributes = known({HTTP_RESPONSE_STATUS_CODE: status, HTTP_ROUTE: route, ERROR_TYPE: error, OUTCOME: why})
        metric_attributes = {**self.active, **span_attributes, **known({NETWORK_PROTOCOL_VERSION: version})}
        outcome = Outcome.of(span_attributes, metric_attributes, self._old_names)
        if len(self._outcomes) < _MAX_OUTCOMES:
            self._outcomes[ending] = outcome
        return outcome


class ServerOperations:
    """The operations met so far. Bounded."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self._met: dict[tuple[str, str], ServerOperation] = {}

    def of(self, method: str, scheme: str) -> ServerOperation:
        """The operation for one method over one scheme, prepared when it is first met."""
        key = (method, scheme)
        prepared = self._met.get(key)
        if prepared is not None:
            return prepared
        operation = ServerOperation(method, scheme, self._words)
        if len(self._met) < _MAX_OPERATIONS:
            self._met[key] = operation
        return operation

    def attributes(self, operation: ServerOperation, request: ServerRequest, proxied: Forwarded) -> dict[str, Value]:
        """What a span says of ``request`` when it starts.

        Args:
            operation: the request's method and scheme.
            request: the request.
            proxied: what trusted proxies say of it.
        """
        scheme = str(operation.active[URL_SCHEME])
        query = redact_query(f"?{request.query}")[1:] if request.query else None
        address, port = request.peer
        peer = address if address is not None and _IP.fullmatch(address) else None
        attributes: dict[str, Value] = known(
            {
                URL_PATH: request.path,
                URL_QUERY: query,
                **(_origin(proxied.host or request.value("host"), scheme) or _own(request)),
                CLIENT_ADDRESS: proxied.client or peer,
                NETWORK_PEER_ADDRESS: peer,
                NETWORK_PEER_PORT: port if peer is not None else None,
                NETWORK_PROTOCOL_VERSION: request.version,
                USER_AGENT_ORIGINAL: request.value("user-agent"),
            }
        )
        if self._words.old_names:
            attributes.update(renamed(attributes, _OLD_NAMES))
            attributes[_TARGET] = f"{request.path}?{query}" if query else request.path
        return {**operation.attributes, **attributes}


@lru_cache(_MAX_HOSTS)
def _origin(host: str, scheme: str) -> Mapping[str, Value] | None:
    match = _HOST.fullmatch(host)
    if match is None:
        return None
    ipv6, name, text = match.groups()
    port = int(text) if text else _DEFAULT_PORTS.get(scheme)
    return known({SERVER_ADDRESS: (ipv6 or name).lower(), SERVER_PORT: port}) if (port or 0) <= _MAX_PORT else None


def _own(request: ServerRequest) -> Mapping[str, Value]:
    address, port = request.server
    return known({SERVER_ADDRESS: address, SERVER_PORT: port})
