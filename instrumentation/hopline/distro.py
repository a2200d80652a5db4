"""The distribution: what ``opentelemetry-instrument`` finds, and how it sets the SDK up."""

from __future__ import annotations

import _thread
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from logging import getLogger
from os import environ
from typing import Any

from opentelemetry import propagate, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.environment_variables import OTEL_PROPAGATORS
from opentelemetry.instrumentation.dependencies import DependencyConflictError
from opentelemetry.instrumentation.distro import BaseDistro
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk._configuration import _OTelSDKConfigurator
from opentelemetry.sdk.environment_variables import OTEL_SDK_DISABLED
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util._importlib_metadata import EntryPoint, entry_points

from hopline._on_import import LIBRARIES, when_imported
from hopline._settings import comma_separated
from hopline._version import __version__
from hopline.late_threads import LateThreads
from hopline.processor import RequestIdSpanProcessor
from hopline.propagators import DeadlinePropagator, RequestIdPropagator

_logger = getLogger(__name__)

_PACKAGE = "hopline"
# What the semantic conventions have a distribution say of itself with everything that is exported.
_ITSELF = {"telemetry.distro.name": _PACKAGE, "telemetry.distro.version": __version__}
DEFERRED_OTLP = "hopline_otlp"
_STATSD = "statsd"
# Other instrumentors that measure the requests which hopline measures at the server.
_WEB_FRAMEWORKS = frozenset(("django", "falcon", "fastapi", "flask", "pyramid", "starlette"))
# What OpenTelemetry's loader takes for a library that is not there or too old, and goes on; at all else it stops.
_NOT_HERE = (ImportError, DependencyConflictError)
# Where nobody names a statsd server, the exporter is not even imported.
_STATSD_SETTINGS = ("OTEL_EXPORTER_STATSD_ENDPOINT", "STATSD_DSN", "STATSD_HOST")


class HoplineDistro(BaseDistro):
    """Hopline's defaults for ``opentelemetry-instrument``; OpenTelemetry's environment variables win over them."""

    def _configure(self, **kwargs: Any) -> None:
        # Setting the variable would come too late: the API has read it when it was imported.
        if not _is_disabled() and not environ.get(OTEL_PROPAGATORS):
            propagate.set_global_textmap(CompositePropagator(_propagators()))

    def load_instrumentor(self, entry_point: EntryPoint, **kwargs: Any) -> None:
        """Load one instrumentor, unless hopline has its own for the same library.

        One that fails costs a warning, and none of the others. Hopline's own for a library is loaded when the
        application imports the library.

        Args:
            entry_point: names the instrumentor.
            **kwargs: passed to its ``instrument()``.
        """
        if _is_disabled():
            return
        if entry_point.name in _WEB_FRAMEWORKS:
            from hopline.http.foreign_metrics import leave_ours_out

            leave_ours_out(kwargs)
        load = partial(super().load_instrumentor, entry_point, **kwargs)
        if _is_ours(entry_point):
            when_imported(LIBRARIES.get(entry_point.name, ()), partial(_load, entry_point, load))
        elif entry_point.name in our_instrumentors():
            _logger.info("hopline instruments %s itself; %s is left out", entry_point.name, entry_point.value)
        else:
            _load(entry_point, load, passed_on=_NOT_HERE)


class HoplineConfigurator(_OTelSDKConfigurator):
    """Sets the SDK up as the environment says, with hopline's defaults where it says nothing.

    Spans and metrics go to OTLP over HTTP and, when a statsd endpoint is configured, timers to statsd.
    """

    def _configure(self, **kwargs: Any) -> None:
        if _is_disabled():
            return
        if not _may_export():
            _logger.warning("nothing is exported from this sub-interpreter: it may not have the SDK's daemon threads")
            return
        exporters = chosen_exporters()
        kwargs["resource_attributes"] = {**(kwargs.get("resource_attributes") or {}), **_ITSELF}
        late_threads = LateThreads() if LateThreads.may_be_needed() else None
        with _environment(exporters), late_threads or nullcontext():
            super()._configure(**kwargs)  # type: ignore[no-untyped-call]
        provider = trace.get_tracer_provider()
        if not isinstance(provider, TracerProvider):
            return
        request_ids = RequestIdSpanProcessor()
        provider.add_span_processor(request_ids)
        if late_threads is not None:
            late_threads.begin_at_first_span(request_ids)
        if _STATSD in exporters["traces"]:
            _count_in_statsd(provider)


def _count_in_statsd(provider: TracerProvider) -> None:
    """Have every call counted, as it ends and whatever the sampling: a batch exporter would see the sampled only."""
    from hopline_statsd.processor import StatsdSpanProcessor

    processor = StatsdSpanProcessor()
    provider.sampler = processor.recording_sampler(provider.sampler)
    provider.add_span_processor(processor)


def _load(entry_point: EntryPoint, load: Callable[[], object], passed_on: tuple[type[Exception], ...] = ()) -> None:
    try:
        load()
    except passed_on:
        raise
    except _NOT_HERE as error:
        _logger.warning("%s is not instrumented: %s", entry_point.name, error)
    except Exception as error:
        _logger.warning("%s is not instrumented: %s failed", entry_point.name, entry_point.value, exc_info=error)


def _propagators() -> list[TextMapPropagator]:
    return [TraceContextTextMapPropagator(), W3CBaggagePropagator(), RequestIdPropagator(), DeadlinePropagator()]


def _is_disabled() -> bool:
    return environ.get(OTEL_SDK_DISABLED, "").strip().lower() == "true"


def _may_export() -> bool:
    # Those of `concurrent.interpreters` may not; those of mod_wsgi may.
    may_have_daemons: Callable[[], bool] | None = getattr(_thread, "daemon_threads_allowed", None)  # since 3.12
    return may_have_daemons is None or may_have_daemons()


def _is_ours(entry_point: EntryPoint) -> bool:
    # By its module: to ask for its distribution's name parses all of that distribution's metadata, each time.
    return entry_point.value.startswith(f"{_PACKAGE}.")


@cache
def our_instrumentors() -> frozenset[str]:
    """The names of hopline's own instrumentors."""
    return frozenset(each.name for each in entry_points(group="opentelemetry_instrumentor") if _is_ours(each))


@contextmanager
def _environment(exporters: Mapping[str, list[str]]) -> Iterator[None]:
    """Name exporters for the SDK to read, and only while it does: the application's environment stays its own."""
    # Spans reach statsd by a processor of their own.
    batched = {**exporters, "traces": [name for name in exporters["traces"] if name != _STATSD]}
    values = {_variable(signal): ",".join(names) or "none" for signal, names in batched.items()}
    before = {name: environ.get(name) for name in values}
    environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del environ[name]
            else:
                environ[name] = value


def chosen_exporters() -> dict[str, list[str]]:
    """The names of the exporters for each signal: what the environment asks for and is installed, or the defaults."""
    traces = ("otlp", _STATSD) if any(environ.get(name, "").strip() for name in _STATSD_SETTINGS) else ("otlp",)
    defaults: dict[str, tuple[str, ...]] = {"traces": traces, "metrics": ("otlp",), "logs": ("none",)}
    return {signal: _usable_exporters(signal, names) for signal, names in defaults.items()}


def _variable(signal: str) -> str:
    return f"OTEL_{signal.upper()}_EXPORTER"


def _usable_exporters(signal: str, defaults: tuple[str, ...]) -> list[str]:
    variable = _variable(signal)
    installed = {each.name for each in entry_points(group=f"opentelemetry_{signal}_exporter")}
    usable = []
    for name in comma_separated(environ.get(variable, "")) or defaults:
        exporter = _otlp_exporter(signal, installed) if name == "otlp" else name
        if exporter == "otlp_proto_http":
            usable.append(DEFERRED_OTLP)
        elif exporter in installed:
            usable.append(exporter)
        elif exporter != "none":
            _logger.warning("%s names %r, which is not installed; it is left out", variable, name)
    return usable


def _otlp_exporter(signal: str, installed: set[str]) -> str:
    general = "OTEL_EXPORTER_OTLP_PROTOCOL"
    specific = f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL"
    variable = specific if environ.get(specific) else general
    protocol = environ.get(variable, "").strip() or "http/protobuf"
    exporter = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}.get(protocol)
    if exporter in installed:
        return exporter
    _logger.warning("%s=%r is not usable (not installed); using 'http/protobuf' instead", variable, protocol)
    return "otlp_proto_http"
