"""An ASGI application that waits for its clients, which may leave, and for work that may be cancelled."""

import asyncio

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

app, inner = FastAPI(), FastAPI()
app.mount("/inner", inner)


@app.post("/upload")
async def upload(request: Request):
    return len(await request.body())


@app.post("/json")
async def json(item: dict):
    return item


@app.get("/shared")
async def shared():
    work = asyncio.ensure_future(asyncio.Event().wait())
    asyncio.get_running_loop().call_soon(work.cancel)
    await work


@inner.middleware("http")
async def pass_on(request, call_next):
    return await call_next(request)


@inner.get("/stream")
async def stream():
    async def parts():
        while True:
            yield b"more"
            await asyncio.sleep(0.01)

    return StreamingResponse(parts())
