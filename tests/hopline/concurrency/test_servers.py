"""Servers under `opentelemetry-instrument` whose requests run in threads that have to do with the main thread."""

import urllib.request
from importlib.util import find_spec

import pytest

from tests.programs import Program, environment, instrumented
from tests.servers import free_port

pytestmark = pytest.mark.processes

WERKZEUG = "from werkzeug.serving import run_simple; run_simple('127.0.0.1', {port}, app, threaded=True)"
EVENTLET = "from eventlet import listen, wsgi; wsgi.server(listen(('127.0.0.1', {port})), app)"
PASTE = "from paste.httpserver import serve; serve(app, '127.0.0.1', {port})"
TORNADO = (
    "from concurrent.futures import ThreadPoolExecutor; from tornado.ioloop import IOLoop; "
    "from tornado.httpserver import HTTPServer; from tornado.wsgi import WSGIContainer; "
    "HTTPServer(WSGIContainer(app, ThreadPoolExecutor())).listen({port}, '127.0.0.1'); IOLoop.current().start()"
)

SERVERS = {
    "werkzeug": ["-c", f"from tests.sites.pushed_site import app; {WERKZEUG}"],
    "werkzeug in greenlets": [
        "-c",
        f"from gevent import monkey; monkey.patch_all(); from tests.sites.pushed_site import app; {WERKZEUG}",
    ],
    "waitress": ["-m", "waitress", "--listen=127.0.0.1:{port}", "tests.sites.pushed_site:app"],
    "gunicorn gthread": ["-m", "gunicorn", "-b", "127.0.0.1:{port}", "-k", "gthread", "tests.sites.pushed_site:app"],
    "hypercorn": ["-m", "hypercorn", "-w", "0", "-b", "127.0.0.1:{port}", "wsgi:tests.sites.pushed_site:app"],
    "uvicorn": ["-W", "ignore", "-m", "uvicorn", "--interface=wsgi", "--port={port}", "tests.sites.pushed_site:app"],
    "paste": ["-c", f"from tests.sites.pushed_site import app; {PASTE}"],
    "tornado": ["-c", f"from tests.sites.pushed_site import app; {TORNADO}"],
    "eventlet": [
        "-c",
        f"import eventlet; eventlet.monkey_patch(); from tests.sites.pushed_site import app; {EVENTLET}",
    ],
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
