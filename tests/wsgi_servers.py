"""The command lines of WSGI servers."""

from __future__ import annotations

_SCRIPTS = {
    "wsgiref": "from wsgiref.simple_server import make_server; make_server('127.0.0.1', {port}, app).serve_forever()",
    "werkzeug": "from werkzeug.serving import run_simple; run_simple('127.0.0.1', {port}, app, threaded=True)",
    "gevent": "from gevent.pywsgi import WSGIServer; WSGIServer(('127.0.0.1', {port}), app).serve_forever()",
    "eventlet": "from eventlet import listen, wsgi; wsgi.server(listen(('127.0.0.1', {port})), app)",
    "paste": "from paste.httpserver import serve; serve(app, '127.0.0.1', {port})",
    "tornado": (
        "from concurrent.futures import ThreadPoolExecutor; from tornado.ioloop import IOLoop; "
        "from tornado.httpserver import HTTPServer; from tornado.wsgi import WSGIContainer; "
        "HTTPServer(WSGIContainer(app, ThreadPoolExecutor())).listen({port}, '127.0.0.1'); IOLoop.current().start()"
    ),
}


def script(server: str, site: str, before: str = "") -> list[str]:
    """What this interpreter is told to serve a site of `tests.sites` with; `{port}` stands for the port.

    Args:
        server: its name among those that are started by a script.
        site: the site's module.
        before: what the script begins with.
    """
    return ["-c", f"{before}from tests.sites.{site} import app; {_SCRIPTS[server]}"]


def waitress(site: str) -> list[str]:
    """As :func:`script`, for waitress."""
    return ["-m", "waitress", "--listen=127.0.0.1:{port}", f"tests.sites.{site}:app"]


def gunicorn(site: str, *options: str) -> list[str]:
    """As :func:`script`, for gunicorn."""
    return ["-m", "gunicorn", "-b", "127.0.0.1:{port}", *options, f"tests.sites.{site}:app"]


def hypercorn(site: str) -> list[str]:
    """As :func:`script`, for hypercorn."""
    return ["-m", "hypercorn", "-w", "0", "-b", "127.0.0.1:{port}", f"wsgi:tests.sites.{site}:app"]
