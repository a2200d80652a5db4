"""An application of aiohttp's server that tells which request it thinks it serves; run by the tests on every server."""

import os

from aiohttp import web

from hopline import Context
from tests.sites import log_lines

if "SITE_LOGS" in os.environ:
    log_lines.configure()


async def answer(request):
    return web.Response(text=f"{Context.request_id}\n")


async def stream(request):
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(3):
        await response.write(f"{Context.request_id}\n".encode())
    return response


async def boom(request):
    raise RuntimeError("boom")


async def echo(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(f"{message.data} {Context.request_id}")
    return socket


def make(_arguments=None):
    """The application, as `python -m aiohttp.web` wants it."""
    application = web.Application()
    application.add_routes(
        [web.get("/", answer), web.get("/stream", stream), web.get("/boom", boom), web.get("/chat", echo)]
    )
    return application


async def factory():
    """The same, as gunicorn wants it."""
    return make()
