from __future__ import annotations

import asyncio
import inspect
import socket
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextvars import copy_context

import pytest
from opentelemetry import propagate
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from hopline import Context, _guard, _settings
from hopline.propagators import DeadlinePropagator, RequestIdPropagator
from tests import programs
from tests.loopback import LoopbackServer
from tests.telemetry import Telemetry

DEADLINE = 60.0


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool:
    """Run each test in an execution context of its own, so that what it sets ends with it.

    An asynchronous one has a loop of its own as well.
    """
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    if inspect.iscoroutinefunction(pyfuncitem.obj):
        asyncio.run(asyncio.wait_for(pyfuncitem.obj(**arguments), DEADLINE))
    else:
        copy_context().run(pyfuncitem.obj, **arguments)
    return True


@pytest.fixture(autouse=True)
def no_request() -> Iterator[None]:
    """Each test begins and ends outside of any request, whatever its fixtures set."""
    Context.clear()
    yield
    Context.clear()


@pytest.fixture(autouse=True)
def nothing_said_so_far() -> None:
    """Each error and each wrong setting is logged as if it were the first."""
    _guard._stopped.clear()
    _settings._warn.cache_clear()


@pytest.fixture(autouse=True)
def hoplines_propagators() -> Iterator[None]:
    before = propagate.get_global_textmap()
    propagators = [
        TraceContextTextMapPropagator(),
        W3CBaggagePropagator(),
        RequestIdPropagator(),
        DeadlinePropagator(),
    ]
    propagate.set_global_textmap(CompositePropagator(propagators))
    yield
    propagate.set_global_textmap(before)


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    telemetry = Telemetry()
    yield telemetry
    telemetry.shutdown()


@pytest.fixture
def tracer() -> Tracer:
    """Makes spans that go nowhere."""
    return TracerProvider(shutdown_on_exit=False).get_tracer("tests")


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer() as server:
        yield server


@pytest.fixture
def other_server() -> Iterator[LoopbackServer]:
    with LoopbackServer() as server:
        yield server


@pytest.fixture
def unused_port() -> int:
    """A port of loopback on which nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port


@pytest.fixture
def silent_endpoint() -> Iterator[str]:
    """The URL of a server of loopback that takes connections and never answers."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        yield f"http://127.0.0.1:{silent.getsockname()[1]}"


@pytest.fixture
def often_switched() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture(scope="session")
def run_python() -> Callable[[str], str]:
    """Run a program in a fresh interpreter; gives what it printed."""

    def run(program: str) -> str:
        return programs.run([sys.executable, "-c", textwrap.dedent(program)]).stdout

    return run
