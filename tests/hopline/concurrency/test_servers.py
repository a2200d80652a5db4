"""Servers under `opentelemetry-instrument` whose requests run in threads that have to do with the main thread."""

import urllib.request
from importlib.util import find_spec

import pytest

from tests.programs import Program, environment, instrumented
from tests.servers import free_port
from tests.wsgi_servers import gunicorn, hypercorn, script, waitress

pytestmark = pytest.mark.processes

SITE = "pushed_site"
SERVERS = {
    "werkzeug": script("werkzeug", SITE),
    "werkzeug in greenlets": script("werkzeug", SITE, "from gevent import monkey; monkey.patch_all(); "),
    "waitress": waitress(SITE),
    "gunicorn gthread": gunicorn(SITE, "-k", "gthread"),
    "hypercorn": hypercorn(SITE),
    "uvicorn": ["-W", "ignore", "-m", "uvicorn", "--interface=wsgi", "--port={port}", f"tests.sites.{SITE}:app"],
    "paste": script("paste", SITE),
    "tornado": script("tornado", SITE),
    "eventlet": script("eventlet", SITE, "import eventlet; eventlet.monkey_patch(); "),
}


@pytest.mark.parametrize("server", SERVERS)
def test_what_the_main_thread_has_set_is_not_shared_by_all_requests(server):
    if server == "eventlet" and find_spec("eventlet") is None:
        pytest.skip("eventlet is not installed: not for this Python")
    port = free_port()
    command = [part.format(port=port) for part in SERVERS[server]]

    with Program(instrumented(*command), environment(OTEL_TRACES_EXPORTER="none"), port):
        seen = [urllib.request.urlopen(f"http://127.0.0.1:{port}/{user}").read() for user in ("ann", "bob")]

    assert seen == [b"ann", b"bob"]
