from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hopline.wsgi import RequestContextMiddleware
from tests.telemetry import Telemetry


@pytest.fixture
def wrap(telemetry: Telemetry) -> Callable[..., RequestContextMiddleware]:
    """Wrap an application, with the test's own providers."""

    def wrap(app: Callable[..., Any], **arguments: Any) -> RequestContextMiddleware:
        return RequestContextMiddleware(app, **telemetry.providers, **arguments)

    return wrap
