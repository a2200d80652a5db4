"""The instrumentor of the requests library."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from hopline.http.client import ClientTelemetry
from hopline.http.config import HttpConfig
from hopline.requests._sending import Sending

if TYPE_CHECKING:
    from requests import Session

_sending = Sending()


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
                ``request_hook(span, request)``, called when a span has started, before the request is sent;
                ``response_hook(span, request, response)``, called before a span ends;
                ``excluded_urls``, comma-separated regular expressions of URLs that get no span;
                ``duration_histogram_boundaries``, the buckets of ``http.client.request.duration`` in seconds.

        Raises:
            ValueError: if an argument cannot be used.
        """
        config = HttpConfig.of_client("REQUESTS", kwargs)
        telemetry = ClientTelemetry(
            "hopline.requests", config, kwargs.get("tracer_provider"), kwargs.get("meter_provider")
        )
        _sending.instrument_all(telemetry)

    def _uninstrument(self, **kwargs: Any) -> None:
        _sending.uninstrument_all()

    @staticmethod
    def uninstrument_session(session: Session) -> None:
        """Stop telling of one session; others go on.

        Args:
            session: the session to leave alone from now on.
        """
        _sending.uninstrument_session(session)
