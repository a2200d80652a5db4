"""The services of ``hopline demo``: ordinary applications without a word about telemetry but the format of their logs.

``python -m hopline.cli.demo_service NAME CLIENT FOLDER``: the name is ``frontend``, ``backend``, ``worker`` or
``warehouse``; the client, ``aiohttp`` or ``requests``, is what the warehouse is asked with; the folder has Celery's
messages, or is empty where there is no Celery. Each prints a line when it is ready, its URL if it has one, and begins
when it is given a line: the URL of the service that it asks.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]
Ship = Callable[[str], object]

FORMAT = "[%(request_id)s] %(message)s"
_PARCELS = 2

_logger = logging.getLogger("demo")


def warehouse(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Has items, knows where they used to be, and misses everything else."""
    path = environ["PATH_INFO"]
    if path == "/old-items":
        start_response("302 Found", [("Location", "/items"), ("Content-Length", "0")])
        return [b""]
    found = path == "/items"
    return _respond(start_response, "200 OK" if found else "404 Not Found", b"three items\n" if found else b"no\n")


def backend(warehouse_url: str, ship: Ship) -> Application:
    """Make an application that has what the warehouse has, and ships orders from there.

    Args:
        warehouse_url: where the warehouse is.
        ship: ships an order, or has it shipped.
    """

    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/orders":
            return warehouse(environ, start_response)
        _logger.info("the backend has an order")
        ship(warehouse_url)
        return _respond(start_response, "202 Accepted", b"ordered\n")

    return application


def frontend(backend_url: str) -> Application:
    """Make an application that asks the backend for whatever it is asked for."""
    import requests

    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        # Port 1: nobody listens there, so that the connection is refused.
        down = environ["PATH_INFO"] == "/down"
        target = "http://127.0.0.1:1/" if down else backend_url + environ["PATH_INFO"]
        try:
            return _respond(start_response, "200 OK", requests.get(target, timeout=5).content)
        except requests.exceptions.ConnectionError:
            return _respond(start_response, "502 Bad Gateway", b"the backend is down\n")

    return application


def shipping(client: str) -> Ship:
    """Make what asks the warehouse for an order's parcels: at the same time, in the threads of a pool.

    Args:
        client: what to ask with: ``aiohttp`` or ``requests``.
    """
    fetch = _fetch_with_aiohttp if client == "aiohttp" else _fetch_with_requests

    def ship(warehouse_url: str) -> None:
        with ThreadPoolExecutor(_PARCELS) as executor:
            list(executor.map(_parcel, [fetch] * _PARCELS, [f"{warehouse_url}/items"] * _PARCELS))

    return ship


def make_app(folder: str, client: str) -> Any:
    """Make the Celery application whose task ``demo.ship`` ships an order.

    Args:
        folder: where its messages are.
        client: what the warehouse is asked with.
    """
    from celery import Celery  # type: ignore[import-untyped]

    app = Celery("demo", broker="filesystem://localhost")
    folders = dict.fromkeys(("control_folder", "data_folder_in", "data_folder_out"), folder)
    app.conf.update(
        broker_transport_options={**folders, "polling_interval": 0.05},
        task_ignore_result=True,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    app.task(name="demo.ship", shared=False)(shipping(client))
    return app


def _parcel(fetch: Callable[[str], None], url: str) -> None:
    _logger.info("a thread fetches a parcel")
    fetch(url)


def _fetch_with_aiohttp(url: str) -> None:
    import aiohttp

    async def fetch() -> None:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            await response.read()

    asyncio.run(fetch())


def _fetch_with_requests(url: str) -> None:
    import requests

    requests.get(url, timeout=5)


def _respond(start_response: StartResponse, status: str, body: bytes) -> Iterable[bytes]:
    start_response(status, [("Content-Length", str(len(body)))])
    return [body]


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's own name
        pass


class _Server(WSGIServer):
    # Without a reverse look-up of the host's name, which may take seconds.
    def server_bind(self) -> None:
        from socketserver import TCPServer

        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]
        self.setup_environ()


def _serve(make_application: Callable[[str], Application]) -> None:
    with make_server("127.0.0.1", 0, warehouse, _Server, _QuietHandler) as server:
        asked = _begin(f"http://127.0.0.1:{server.server_port}")
        server.set_app(make_application(asked))
        server.serve_forever()


def _work(app: Any) -> None:
    # What a worker imports late takes longest.
    app.Worker  # noqa: B018
    # Where some releases of Celery say that they shut down, which is no news.
    sys.__stderr__ = open(os.devnull, "w")  # type: ignore[misc]  # noqa: SIM115
    _begin("ready")
    alone = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    app.worker_main(["--quiet", "worker", "--pool=solo", "--loglevel=WARNING", *alone])


def _begin(ready: str) -> str:
    print(ready, flush=True)  # noqa: T201 - the demo waits for it
    return sys.stdin.readline().strip()


def main(arguments: list[str]) -> None:
    """Serve, or work, until terminated."""
    name, client, folder = arguments
    logging.basicConfig(stream=sys.stdout, format=FORMAT)
    for logger in ("demo", "hopline.access"):
        logging.getLogger(logger).setLevel(logging.INFO)
    if name == "worker":
        _work(make_app(folder, client))
    elif name == "frontend":
        _serve(frontend)
    elif name == "backend":
        ship = make_app(folder, client).tasks["demo.ship"].delay if folder else shipping(client)
        _serve(lambda url: backend(url, ship))
    else:
        _serve(lambda _: warehouse)


if __name__ == "__main__":
    main(sys.argv[1:])
