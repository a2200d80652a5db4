"""An application that takes the server's connection for itself, as for a WebSocket, and what is told of that."""

from __future__ import annotations

from contextlib import suppress

import pytest
from opentelemetry.trace import StatusCode

from tests.gateway import Gateway


def raising(error):
    def app(environ, start_response):
        raise error

    return app


UPGRADE = {"HTTP_UPGRADE": "websocket"}


@pytest.mark.parametrize(
    ("app", "environ"),
    [
        (raising(StopIteration()), {"gunicorn.socket": "its socket", **UPGRADE}),
        (raising(ConnectionError()), {"werkzeug.socket": "its socket", **UPGRADE}),
        (lambda environ, start_response: [], UPGRADE),
        (lambda environ, start_response: object(), {}),
    ],
    ids=["on gunicorn", "on werkzeug", "on gevent", "handled"],
)
def test_a_connection_that_the_application_has_taken_is_neither_a_response_nor_an_error(wrap, telemetry, app, environ):
    with suppress(StopIteration, ConnectionError, TypeError):
        Gateway(wrap(app), **environ).serve()

    assert "http.response.status_code" not in telemetry.span.attributes
    assert telemetry.span.status.status_code is StatusCode.UNSET
    assert telemetry.points("http.server.request.duration") == []
    assert telemetry.points("http.server.active_requests") == []


@pytest.mark.parametrize(
    ("error", "environ"),
    [
        (StopIteration(), UPGRADE),
        (StopIteration(), {"gunicorn.socket": "its socket"}),
        (ConnectionError(), {"gunicorn.socket": "its socket", **UPGRADE}),
    ],
    ids=["on another server", "of no connection", "of another kind"],
)
def test_what_is_raised_otherwise_is_an_error(wrap, telemetry, error, environ):
    with pytest.raises(type(error)):
        Gateway(wrap(raising(error)), **environ).serve()

    assert telemetry.span.attributes["http.response.status_code"] == 500


def test_what_only_the_server_understands_reaches_it_as_it_is(wrap):
    already_handled = object()

    gateway = Gateway(wrap(lambda environ, start_response: already_handled)).call()

    assert gateway.result is already_handled
