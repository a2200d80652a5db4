"""Metrics of other instrumentations, without the requests that hopline measures itself.

The instrumentors of web frameworks see that a span is current and make none of their own of kind SERVER, but they
measure all the same: summed up, each request would count twice.
"""

from __future__ import annotations

from typing import Any

import wrapt
from opentelemetry.context import get_current
from opentelemetry.metrics import Meter, MeterProvider, get_meter_provider

from hopline.http.server import CALL


class OtherRequestsMeterProvider(MeterProvider):
    """The global meter provider, for an instrumentor whose server metrics are to leave out what hopline measures."""

    def get_meter(self, name: str, *args: Any, **kwargs: Any) -> Meter:
        """The global provider's meter; its histograms and up-down counters are silent within a request of ours."""
        meter: Meter = _Meter(get_meter_provider().get_meter(name, *args, **kwargs))
        return meter


class _Meter(wrapt.ObjectProxy):  # type: ignore[misc]
    def create_histogram(self, *args: Any, **kwargs: Any) -> Any:
        return _Histogram(self.__wrapped__.create_histogram(*args, **kwargs))

    def create_up_down_counter(self, *args: Any, **kwargs: Any) -> Any:
        return _UpDownCounter(self.__wrapped__.create_up_down_counter(*args, **kwargs))


class _Histogram(wrapt.ObjectProxy):  # type: ignore[misc]
    def record(self, *args: Any, **kwargs: Any) -> None:
        if CALL not in get_current():
            self.__wrapped__.record(*args, **kwargs)


class _UpDownCounter(wrapt.ObjectProxy):  # type: ignore[misc]
    def add(self, *args: Any, **kwargs: Any) -> None:
        if CALL not in get_current():
            self.__wrapped__.add(*args, **kwargs)
