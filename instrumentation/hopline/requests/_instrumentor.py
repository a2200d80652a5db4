"""The instrumentor of the requests library."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from hopline.requests._instrumentation import instrumentation, make_telemetry
from hopline.requests._sessions import uninstrument_session

if TYPE_CHECKING:
    from requests import Session


class RequestsInstrumentor(BaseInstrumentor):
    """Instruments requests: each request on the wire makes a CLIENT span, a duration and carries a request id.

    Follows the stable HTTP semantic conventions. Takes the keyword arguments of the instrumentor of
    opentelemetry-python-contrib, so that only the import changes:

    Example:
        >>> from hopline.requests import RequestsInstrumentor
        >>> RequestsInstrumentor().instrument()
        >>> RequestsInstrumentor().uninstrument()
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """What must be installed: requests 2.28 or later."""
        return ("requests >= 2.28, < 3",)

    def _instrument(self, **kwargs: Any) -> None:
        """Instrument every session.

        Args:
            **kwargs: ``tracer_provider`` and ``meter_provider`` (default: the global ones);
                ``request_hook(span, request)``, called when a span has started, before its request is sent;
                ``response_hook(span, request, response)``, called before a span ends;
                ``excluded_urls``, comma-separated regular expressions of URLs that get no span, and
                ``propagate_to_excluded``, whether their requests carry ids all the same;
                ``captured_request_headers``, ``captured_response_headers`` and ``sensitive_headers``, regular
                expressions for field names;
                ``duration_histogram_boundaries``, the buckets of ``http.client.request.duration`` in seconds;
                ``propagate_trace``, ``propagate_baggage``, ``propagate_request_id`` and ``propagate_deadline``, the
                patterns of hosts that may receive each; ``url_templates``, rules such as ``*/users/{id}``;
                ``expected_statuses``, by host pattern the statuses that are no error; ``body_sizes``, whether the
                sizes of bodies are measured. What is not given is as the environment says.

        Raises:
            ValueError: if an argument cannot be used.
        """
        instrumentation.instrument_all(make_telemetry(kwargs))

    def _uninstrument(self, **kwargs: Any) -> None:
        instrumentation.uninstrument_all()

    @staticmethod
    def uninstrument_session(session: Session) -> None:
        """Stop instrumenting one session; see :func:`hopline.requests.uninstrument_session`.

        Args:
            session: the session to leave alone from now on.
        """
        uninstrument_session(session)
