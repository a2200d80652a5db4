import io
import logging

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from hopline.logging import LoggingInstrumentor


@pytest.fixture
def provider():
    return TracerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)


@pytest.fixture
def tracer(provider):
    return provider.get_tracer(__name__)


@pytest.fixture
def instrument(provider):
    """Instruments logging until the test ends."""
    instrumentor = LoggingInstrumentor()
    yield lambda **kwargs: instrumentor.instrument(**{"tracer_provider": provider, **kwargs})
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


@pytest.fixture
def instrumented(instrument):
    instrument()


class Kept(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)


@pytest.fixture
def keeper():
    return Kept()


@pytest.fixture
def kept(keeper):
    """The records of the logger `shop`, newest last."""
    logger = logging.getLogger("shop")
    logger.addHandler(keeper)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield keeper.records
    logger.removeHandler(keeper)
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


@pytest.fixture
def log(kept):
    return logging.getLogger("shop")


@pytest.fixture
def lines():
    """What the logger `lines` writes, through a format string or a formatter that the test sets."""

    class Lines:
        def __init__(self):
            self.stream = io.StringIO()
            self.handler = logging.StreamHandler(self.stream)
            self.logger = logging.getLogger("lines")

        def formatted(self, formatter):
            self.handler.setFormatter(
                formatter if isinstance(formatter, logging.Formatter) else logging.Formatter(formatter)
            )
            return self.logger

        def read(self):
            return self.stream.getvalue()

    lines = Lines()
    lines.logger.addHandler(lines.handler)
    lines.logger.setLevel(logging.DEBUG)
    lines.logger.propagate = False
    yield lines
    lines.logger.removeHandler(lines.handler)
    lines.logger.propagate = True
    lines.logger.setLevel(logging.NOTSET)
