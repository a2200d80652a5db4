"""What came in with a request or job: the context that the global propagator makes of it, always with a request id."""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.propagate import get_global_textmap
from opentelemetry.propagators.textmap import CarrierT, Getter

from hopline._guard import guard
from hopline.context import current
from hopline.propagators import RequestIdPropagator


class Extraction:
    """Extracts a context with the global propagator, and the request id itself where that one leaves it out."""

    __slots__ = ("_ids",)

    def __init__(self) -> None:
        self._ids = RequestIdPropagator()

    def context(self, carrier: CarrierT, getter: Getter[CarrierT]) -> Context:
        """A fresh context for what came in: nothing of the current one is in it.

        Args:
            carrier: what came in.
            getter: reads ``carrier``.
        """
        context = guard(get_global_textmap().extract, carrier, Context(), getter) or Context()
        state = current(context)
        has_id = state is not None and state.request_id is not None
        return context if has_id else self.request_id(carrier, getter, context)

    def request_id(self, carrier: CarrierT, getter: Getter[CarrierT], context: Context) -> Context:
        """A copy of ``context`` with the request id of ``carrier``, else its own, else a generated one."""
        return self._ids.extract(carrier, context, getter)
