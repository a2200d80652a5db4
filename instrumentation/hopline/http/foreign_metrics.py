"""Metrics of other instrumentations, without the requests that hopline measures itself.

The instrumentors of web frameworks see that a span is current and make none of their own of kind SERVER, but they
measure all the same: summed up, each request would count twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from opentelemetry.context import get_current
from opentelemetry.metrics import Meter, MeterProvider, get_meter_provider

from hopline._patch import Patch
from hopline.http.server import SERVER_CALL


def leave_ours_out(arguments: dict[str, Any]) -> None:
    """Have a web framework's instrumentor leave out of its server metrics what hopline measures.

    Args:
        arguments: those of its ``instrument()``; a meter provider is added, unless there is one.
    """
    arguments.setdefault("meter_provider", OtherRequestsMeterProvider())
    _pyramid.apply()


class OtherRequestsMeterProvider(MeterProvider):
    """The global meter provider, for an instrumentor whose server metrics are to leave out what hopline measures."""

    def get_meter(self, name: str, *args: Any, **kwargs: Any) -> Meter:
        """The global provider's meter; its histograms and up-down counters are silent within a request of ours."""
        return cast(Meter, _Meter(get_meter_provider().get_meter(name, *args, **kwargs)))


def _get_meter(wrapped: Callable[..., Any], _module: object, args: Any, kwargs: Mapping[str, Any]) -> Any:
    return wrapped(*args, **{"meter_provider": OtherRequestsMeterProvider(), **kwargs})


# Pyramid's instrumentor knows no such argument.
_pyramid = Patch("opentelemetry.instrumentation.pyramid.callbacks", "get_meter", _get_meter)


class _Delegate:
    def __init__(self, delegate: Any) -> None:
        self._delegate = delegate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._delegate, name)


class _Meter(_Delegate):
    def create_histogram(self, *args: Any, **kwargs: Any) -> Any:
        return _Histogram(self._delegate.create_histogram(*args, **kwargs))

    def create_up_down_counter(self, *args: Any, **kwargs: Any) -> Any:
        return _UpDownCounter(self._delegate.create_up_down_counter(*args, **kwargs))


class _Histogram(_Delegate):
    def record(self, *args: Any, **kwargs: Any) -> None:
        if SERVER_CALL not in get_current():
            self._delegate.record(*args, **kwargs)


class _UpDownCounter(_Delegate):
    def add(self, *args: Any, **kwargs: Any) -> None:
        if SERVER_CALL not in get_current():
            self._delegate.add(*args, **kwargs)
