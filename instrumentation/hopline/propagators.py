"""The text-map propagator that carries the request id from hop to hop in the ``X-Request-Id`` header."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.context import Context, get_current
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
from hopline.context import current, with_request_id
from hopline.environment_variables import (
    OTEL_PYTHON_HOPLINE_REQUEST_ID_MODE,
    OTEL_PYTHON_HOPLINE_TRUST_INCOMING,
)
from hopline.request_id import HEADER, fan_out, is_valid, new_hop, new_root

_FIELD = HEADER.lower()


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
            trust_incoming = _settings.read(OTEL_PYTHON_HOPLINE_TRUST_INCOMING, _settings.boolean, default=True)
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
        if carrier and isinstance(carrier, Mapping) and any(str(key).lower() == _FIELD for key in carrier):
            return
        setter.set(carrier, HEADER, self._outgoing(get_current() if context is None else context))

    @property
    def fields(self) -> set[str]:
        """The header that :meth:`inject` sets."""
        return {HEADER}

    def _incoming(self, carrier: CarrierT, getter: Getter[CarrierT]) -> str | None:
        if not self._trust_incoming:
            return None
        values = getter.get(carrier, HEADER) or getter.get(carrier, _FIELD) or ()
        first = next(iter(values), None)
        return first if is_valid(first) else None

    def _outgoing(self, context: Context) -> str:
        state = current(context)
        request_id = None if state is None else state.request_id
        if request_id is not None and not self._fan_out:
            return request_id
        span_id = get_current_span(context).get_span_context().span_id
        hop = f"{span_id:016x}" if span_id else new_hop()
        return hop if request_id is None else fan_out(hop, request_id)
