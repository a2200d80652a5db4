"""The instrumentor of aiohttp's client, and trace configs for single sessions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Span, TracerProvider

from hopline.aiohttp_client._sessions import Sessions, config_of_its_own, silence
from hopline.http.arguments import ClientSettings, hook, refuse_unknown
from hopline.http.client import ClientTelemetry
from hopline.http.config import HttpConfig

if TYPE_CHECKING:
    from aiohttp import (
        ClientSession,
        TraceConfig,
        TraceRequestEndParams,
        TraceRequestExceptionParams,
        TraceRequestStartParams,
    )
    from typing_extensions import Unpack
    from yarl import URL

    UrlFilter = Callable[[URL], URL | str]
    RequestHook = Callable[[Span, TraceRequestStartParams], object]
    ResponseHook = Callable[[Span, TraceRequestEndParams | TraceRequestExceptionParams], object]

_sessions = Sessions()


class AioHttpClientInstrumentor(BaseInstrumentor):
    """Instruments aiohttp's client: each request on the wire makes a CLIENT span and metrics and carries a request id.

    Follows the stable HTTP semantic conventions. Takes the keyword arguments of the instrumentor of
    opentelemetry-python-contrib, so that only the import changes:

    Example:
        >>> from hopline.aiohttp_client import AioHttpClientInstrumentor
        >>> AioHttpClientInstrumentor().instrument()
        >>> AioHttpClientInstrumentor().uninstrument()
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """What must be installed: aiohttp 3.9 or later."""
        return ("aiohttp >= 3.9, < 4",)

    def _instrument(self, **kwargs: Any) -> None:
        """Instrument every session.

        Args:
            **kwargs: ``tracer_provider`` and ``meter_provider`` (default: the global ones);
                ``url_filter``, ``request_hook`` and ``response_hook``, and everything else that
                :func:`create_trace_config` takes;
                ``trace_configs``, a sequence of ``aiohttp.TraceConfig`` that every session gets as well.

        Raises:
            ValueError: if an argument cannot be used.
        """
        _sessions.instrument_all(_make_telemetry(kwargs), kwargs.get("trace_configs") or ())

    def _uninstrument(self, **kwargs: Any) -> None:
        _sessions.uninstrument_all()

    @staticmethod
    def uninstrument_session(client_session: ClientSession) -> None:
        """Stop instrumenting one session; others go on.

        Args:
            client_session: the session to leave alone from now on.
        """
        silence(client_session)


def create_trace_config(
    url_filter: UrlFilter | None = None,
    request_hook: RequestHook | None = None,
    response_hook: ResponseHook | None = None,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    **settings: Unpack[ClientSettings],
) -> TraceConfig:
    """Make a trace config, to instrument the sessions that it is given to, whether or not all are.

    Such a session is instrumented once, in this way, even where ``AioHttpClientInstrumentor().instrument()`` covers
    all of them.

    Args:
        url_filter: makes of a request's ``yarl.URL`` the URL to record as ``url.full``, a ``URL`` or a string.
        request_hook: called with the span and ``TraceRequestStartParams`` when a span has started, before its
            request is sent; the header in there may be changed.
        response_hook: called with the span and ``TraceRequestEndParams``, or ``TraceRequestExceptionParams``, before
            a span ends.
        tracer_provider: makes the tracer (default: the global one).
        meter_provider: makes the instruments (default: the global one).
        **settings: ``excluded_urls``, comma-separated regular expressions of URLs that get no span, and
            ``propagate_to_excluded``, whether their requests carry ids all the same;
            ``captured_request_headers``, ``captured_response_headers`` and ``sensitive_headers``, regular expressions
            for field names; ``duration_histogram_boundaries``, the buckets of ``http.client.request.duration`` in
            seconds; ``propagate_trace``, ``propagate_baggage``, ``propagate_request_id`` and ``propagate_deadline``,
            the patterns of hosts that may receive each; ``url_templates``, rules such as ``*/users/{id}``;
            ``expected_statuses``, by host pattern the statuses that are no error; ``body_sizes``, whether the sizes
            of bodies are measured. What is not given is as the environment says.

    Returns:
        The config, for ``aiohttp.ClientSession(trace_configs=[…])``.

    Raises:
        TypeError: if there is no argument of a name.
        ValueError: if an argument cannot be used.

    Example:
        >>> async def fetch(url):
        ...     async with aiohttp.ClientSession(trace_configs=[create_trace_config()]) as session:
        ...         async with session.get(url) as response:
        ...             return await response.text()
    """
    refuse_unknown("create_trace_config", settings, ClientSettings)
    hooks = {"url_filter": url_filter, "request_hook": request_hook, "response_hook": response_hook}
    providers = {"tracer_provider": tracer_provider, "meter_provider": meter_provider}
    return config_of_its_own(_make_telemetry({**settings, **hooks, **providers}))


def _make_telemetry(arguments: Mapping[str, Any]) -> ClientTelemetry:
    url_filter = hook("url_filter", arguments.get("url_filter"))
    response_hook = hook("response_hook", arguments.get("response_hook"))
    adapted = {} if response_hook is None else {"response_hook": _without_request(response_hook)}
    config = HttpConfig.of_client("AIOHTTP_CLIENT", {**arguments, **adapted})
    if url_filter is not None:
        config = replace(config, url_filter=_of_text(url_filter))
    return ClientTelemetry(
        "hopline.aiohttp_client", config, arguments.get("tracer_provider"), arguments.get("meter_provider")
    )


def _without_request(hook: ResponseHook) -> Callable[[Span, object, Any], object]:
    @wraps(hook)
    def response_hook(span: Span, request: object, answer: Any) -> object:
        return hook(span, answer)

    return response_hook


def _of_text(url_filter: UrlFilter) -> Callable[[str], str]:
    from yarl import URL

    @wraps(url_filter)
    def filtered(url: str) -> str:
        result = url_filter(URL(url, encoded=True))
        return str(result) if isinstance(result, URL) else result

    return filtered
