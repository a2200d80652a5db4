"""An ASGI application that tells which request it thinks it serves; run by the tests on every server."""

import os

from hopline import Context
from tests.sites import log_lines

if "SITE_LOGS" in os.environ:
    log_lines.configure()


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "websocket":
        await echo(receive, send)
    elif scope["path"] == "/boom":
        raise RuntimeError("boom")
    else:
        await answer(scope, send)


async def lifespan(receive, send):
    for _ in range(2):
        message = await receive()
        await send({"type": f"{message['type']}.complete"})


async def answer(scope, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    chunks = 3 if scope["path"] == "/stream" else 1
    for left in reversed(range(chunks)):
        body = f"{Context.request_id} {scope['state']['request_id']}\n".encode()
        await send({"type": "http.response.body", "body": body, "more_body": left > 0})


async def echo(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": f"{message['text']} {Context.request_id}"})
