"""The text-map propagators that carry the request id (``X-Request-Id``) and the deadline from hop to hop."""

from __future__ import annotations

from collections.abc import Mapping
from logging import getLogger

from opentelemetry.context import Context
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)
from opentelemetry.trace import get_current_span

from hopline import _settings
from hopline.context import current, with_deadline, with_request_id
from hopline.deadline import HEADER as DEADLINE
from hopline.deadline import parse
from hopline.environment_variables import (
    OTEL_PYTHON_HOPLINE_REQUEST_ID_MODE,
    OTEL_PYTHON_HOPLINE_TRUST_INCOMING,
)
from hopline.request_id import HEADER, fan_out, hop_of, is_valid, new_hop, new_root

_logger = getLogger(__name__)


class RequestIdPropagator(TextMapPropagator):
    """Propagates the request id; registered as ``request_id`` for ``OTEL_PROPAGATORS``.

    Follows the OpenTelemetry propagators specification: it never raises on what a carrier holds, and sets one
    field, ``X-Request-Id``.

    Args:
        fan_out: put this hop's part before the id (True) or forward the id as it is (False);
            by default as ``OTEL_PYTHON_HOPLINE_REQUEST_ID_MODE`` says.
        trust_incoming: keep a valid id that comes in (True) or always begin a new one (False);
            by default as ``OTEL_PYTHON_HOPLINE_TRUST_INCOMING`` says.
    """

    def __init__(self, *, fan_out: bool | None = None, trust_incoming: bool | None = None) -> None:
        if fan_out is None:
            modes = _settings.one_of("fanout", "forward")
            fan_out = _settings.read(OTEL_PYTHON_HOPLINE_REQUEST_ID_MODE, modes, "fanout") == "fanout"
        if trust_incoming is None:
            trust_incoming = _trust_incoming()
        self._fan_out = fan_out
        self._trust_incoming = trust_incoming

    def extract(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        getter: Getter[CarrierT] = default_getter,
    ) -> Context:
        """Begin a request: with the id in ``carrier`` if it is valid and trusted, else ``context``'s, else a new one.

        Args:
            carrier: what came in, for instance a dictionary of headers.
            context: the context to start from (default: an empty one).
            getter: reads ``carrier``.

        Returns:
            A context with a request id.
        """
        context = Context() if context is None else context
        incoming = self._incoming(carrier, getter)
        if incoming is not None:
            return with_request_id(context, incoming)
        state = current(context)
        if state is not None and state.request_id is not None:
            return context
        return with_request_id(context, new_root())

    def inject(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        setter: Setter[CarrierT] = default_setter,
    ) -> None:
        """Put the id of an outgoing request into ``carrier``, unless the caller has set one there.

        The hop's part is the span id of the span in ``context``, so an id leads straight to the span that sent it.

        Args:
            carrier: what goes out, for instance a dictionary of headers.
            context: the context to send (default: the current one).
            setter: writes into ``carrier``.
        """
        if not _has(carrier, HEADER):
            hop = hop_of(get_current_span(context).get_span_context().span_id)
            state = current(context)
            setter.set(carrier, HEADER, self.outgoing(None if state is None else state.request_id, hop))

    def outgoing(self, request_id: str | None, hop: str) -> str:
        """The id of an outgoing request.

        Args:
            request_id: the id of the request that is being served, or None.
            hop: the part that names the span it is sent in, or an empty string if there is none.
        """
        if request_id is not None and not self._fan_out:
            return request_id
        hop = hop or new_hop()
        return hop if request_id is None else fan_out(hop, request_id)

    @property
    def fields(self) -> set[str]:
        """The header that :meth:`inject` sets."""
        return {HEADER}

    def _incoming(self, carrier: CarrierT, getter: Getter[CarrierT]) -> str | None:
        first = _first(carrier, getter, HEADER) if self._trust_incoming else None
        return first if is_valid(first) else None


class DeadlinePropagator(TextMapPropagator):
    """Propagates the deadline; registered as ``deadline`` for ``OTEL_PROPAGATORS``.

    Its header, ``X-Request-Deadline``, holds a moment in ISO 8601, UTC: ``2030-01-31T12:00:00.250Z``.

    Args:
        trust_incoming: heed a deadline that comes in (True) or not (False); by default as
            ``OTEL_PYTHON_HOPLINE_TRUST_INCOMING`` says.
    """

    def __init__(self, *, trust_incoming: bool | None = None) -> None:
        self._trust_incoming = _trust_incoming() if trust_incoming is None else trust_incoming

    def extract(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        getter: Getter[CarrierT] = default_getter,
    ) -> Context:
        """Give the request in ``context`` the deadline in ``carrier``; a wrong one is ignored.

        Args:
            carrier: what came in, for instance a dictionary of headers.
            context: the context to start from (default: an empty one).
            getter: reads ``carrier``.

        Returns:
            A context with the deadline, or ``context``.
        """
        context = Context() if context is None else context
        text = _first(carrier, getter, DEADLINE) if self._trust_incoming else None
        if text is None:
            return context
        try:
            return with_deadline(context, parse(text))
        except ValueError as error:
            # Not shown, for it may be hostile.
            _logger.debug("a %s header is not usable (%s); it is ignored", DEADLINE, error)
            return context

    def inject(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        setter: Setter[CarrierT] = default_setter,
    ) -> None:
        """Put the deadline, if there is one, into ``carrier``, unless the caller has set one there.

        Args:
            carrier: what goes out, for instance a dictionary of headers.
            context: the context to send (default: the current one).
            setter: writes into ``carrier``.
        """
        state = current(context)
        if state is not None and state.deadline is not None and not _has(carrier, DEADLINE):
            setter.set(carrier, DEADLINE, state.deadline.text)

    @property
    def fields(self) -> set[str]:
        """The header that :meth:`inject` sets."""
        return {DEADLINE}


def _trust_incoming() -> bool:
    return _settings.read(OTEL_PYTHON_HOPLINE_TRUST_INCOMING, _settings.boolean, default=True)


def _first(carrier: CarrierT, getter: Getter[CarrierT], header: str) -> str | None:
    values = getter.get(carrier, header) or getter.get(carrier, header.lower()) or ()
    first = next(iter(values), None)
    return first if isinstance(first, str) else None


def _has(carrier: CarrierT, header: str) -> bool:
    if not carrier or not isinstance(carrier, Mapping):
        return False
    name = header.lower()
    return any(str(key).lower() == name for key in carrier)
