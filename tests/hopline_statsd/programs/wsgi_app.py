"""For gunicorn: one line when it is loaded, one for each request, and no flush before the end."""

import os

from hopline_statsd import StatsdClient, StatsdConfig

client = StatsdClient(
    StatsdConfig(endpoint=os.environ["OTEL_EXPORTER_STATSD_ENDPOINT"], prefix="app", flush_interval=600)
)
client.increment("loaded")


def application(environ, start_response):
    client.increment(f"request.{environ['PATH_INFO']}")
    start_response("200 OK", [("Content-Length", "0")])
    return [str(os.getpid()).encode()][:0]
