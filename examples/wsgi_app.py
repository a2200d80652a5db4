"""A small web application that asks another service for whatever it is asked for; no word about telemetry.

    UPSTREAM=http://127.0.0.1:8000 opentelemetry-instrument gunicorn --chdir examples wsgi_app:application

Under hopline `environ["requests"]` is the thread's session, which keeps its connections; elsewhere requests does.
"""

import logging
import os

import requests

UPSTREAM = os.environ.get("UPSTREAM", "http://127.0.0.1:8000")

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
logger = logging.getLogger("wsgi_app")


def application(environ, start_response):
    """Answer with what the other service answers."""
    session = environ.get("requests", requests)
    try:
        response = session.get(f"{UPSTREAM}{environ['PATH_INFO']}", timeout=10)
    except requests.RequestException:
        logger.exception("the other service is not there")
        start_response("502 Bad Gateway", [("Content-Type", "text/plain")])
        return [b"try again later\n"]
    logger.info("the other service answered %s", response.status_code)
    start_response(f"{response.status_code} {response.reason}", [("Content-Type", "text/plain")])
    return [response.content]
