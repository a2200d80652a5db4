"""What all tests share: a test that needs a real server says which, and is skipped where there is none."""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.servers import missing_program
from tests.signals import striking

REQUIRE_SERVERS = "HOPLINE_REQUIRE_SERVERS"

# A worker that is asked to end while it starts may not hear it, and then has half a minute unless this says less.
os.environ.setdefault("GUNICORN_CMD_ARGS", "--graceful-timeout=10")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("server"):
        for name in marker.args:
            reason = missing_program(name)
            if reason is None:
                continue
            if os.environ.get(REQUIRE_SERVERS) == "1":
                pytest.fail(f"{reason}, and {REQUIRE_SERVERS}=1 says it must be there", pytrace=False)
            pytest.skip(f"{reason}; .ci/servers installs it")


@pytest.fixture
def strike() -> Iterator[Callable[[], object]]:
    """Has a signal's handler raise once, a moment after the call."""
    with striking() as strike:
        yield strike
