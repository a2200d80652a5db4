"""aiohttp's server under `opentelemetry-instrument`: nothing in the application, one span and one id each."""

from __future__ import annotations

import pytest

from tests.hopline.asgi.test_servers import check_each_is_served_in_a_span_and_a_context_of_its_own
from tests.hopline.wsgi.test_servers import ids_logged_of_an_exception

pytestmark = pytest.mark.processes

SITE = "tests.sites.aiohttp_site"
SERVERS = {
    "aiohttp": ["-m", "aiohttp.web", "-H", "127.0.0.1", "-P", "{port}", f"{SITE}:make"],
    "gunicorn": ["-m", "gunicorn", "-b", "127.0.0.1:{port}", "-k", "aiohttp.GunicornWebWorker", f"{SITE}:factory"],
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_serves_each_request_and_connection_in_a_span_and_a_context_of_its_own(server):
    check_each_is_served_in_a_span_and_a_context_of_its_own(SERVERS[server], "hopline.aiohttp_server", "abc\n")


def test_what_it_logs_of_an_exception_has_the_requests_id():
    assert ids_logged_of_an_exception(SERVERS["aiohttp"], "aiohttp.server") == {"abc"}
