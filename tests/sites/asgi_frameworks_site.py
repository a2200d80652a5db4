"""Starlette, FastAPI and Django, mounted on one Starlette application."""

import asyncio

from django.core.asgi import get_asgi_application
from fastapi import APIRouter, FastAPI, Request
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute

from tests.sites import django_site


async def item(request):
    return PlainTextResponse(f"item {request.path_params['number']}")


async def boom(request):
    raise RuntimeError("boom")


async def endless(request):
    async def parts():
        while True:
            yield b"more"
            await asyncio.sleep(0.01)

    return StreamingResponse(parts())


async def chat(websocket):
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(f"{text} {websocket.state.request_id}")


class Shelf(HTTPEndpoint):
    async def get(self, request):
        return PlainTextResponse("shelf")


class Catalog:
    """An application in itself, such as those that answer GraphQL or give out files."""

    async def __call__(self, scope, receive, send):
        await PlainTextResponse("catalog")(scope, receive, send)


def make_fastapi():
    site, router, outer = FastAPI(), APIRouter(), APIRouter()

    @router.get("/{number}")
    def item(number: int, request: Request):
        return f"item {number} {request.state.request_id}"

    outer.include_router(router, prefix="/items")
    site.include_router(outer, prefix="/v1")
    return site


def make_app():
    django_site.set_up()
    return Starlette(
        routes=[
            Route("/items/{number:int}", item),
            Route("/shelf", Shelf),
            Route("/catalog", Catalog()),
            Route("/boom", boom),
            Route("/endless", endless),
            WebSocketRoute("/chat/{room}", chat),
            Mount("/{tenant}/fastapi", make_fastapi()),
            Mount("/django", get_asgi_application()),
        ]
    )
