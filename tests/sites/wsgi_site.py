"""A WSGI application that tells which request it thinks it serves; run by the tests on every server."""

import io
import os

from hopline import Context
from tests.sites import log_lines

if "SITE_LOGS" in os.environ:
    log_lines.configure()


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/boom":
        raise RuntimeError("boom")
    start_response("200 OK", [("Content-Type", "text/plain")])
    if path == "/stream":
        return (f"{Context.request_id}\n".encode() for _ in range(3))
    if path == "/file":
        return environ.get("wsgi.file_wrapper", iter)(io.BytesIO(b"a file\n" * 10_000))
    return [f"{Context.request_id} {environ['REQUEST_ID']}".encode()]
