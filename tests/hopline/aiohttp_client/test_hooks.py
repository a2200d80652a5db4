"""Hooks of the user: what they get, and that they can break nothing."""

from __future__ import annotations

import asyncio
import logging

import aiohttp
import pytest


async def fetch(session, url, **options):
    async with session.get(url, **options) as response:
        return await response.read()


async def test_hooks_get_the_span_and_what_contribs_hooks_get(instrument, telemetry, site):
    seen = []
    instrument(
        request_hook=lambda span, params: seen.append((span.is_recording(), type(params))),
        response_hook=lambda span, params: seen.append((span.is_recording(), type(params))),
    )

    async with aiohttp.ClientSession() as session:
        await fetch(session, site.url)

    assert seen == [(True, aiohttp.TraceRequestStartParams), (True, aiohttp.TraceRequestEndParams)]


async def test_the_response_hook_is_told_of_exceptions_too(instrument, telemetry, unused_port):
    instrument(response_hook=lambda span, params: span.set_attribute("error", str(type(params.exception).__name__)))

    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await fetch(session, f"http://127.0.0.1:{unused_port}")

    assert telemetry.span.attributes["error"] == "ClientConnectorError"


async def test_the_response_hook_is_told_of_cancellations_too(instrument, telemetry, site):
    instrument(response_hook=lambda span, params: span.set_attribute("error", str(type(params.exception).__name__)))

    async with aiohttp.ClientSession() as session:
        task = asyncio.create_task(fetch(session, site.hold("/held")))
        while not site.received:
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert telemetry.span.attributes["error"] == "CancelledError"


async def test_hooks_are_called_for_each_hop_with_its_own_url(instrument, site):
    asked, answered = [], []
    instrument(
        request_hook=lambda span, params: asked.append(params.url.path),
        response_hook=lambda span, params: answered.append((params.url.path, params.response.status)),
    )
    site.redirect("/a", "/b")

    async with aiohttp.ClientSession() as session:
        await fetch(session, f"{site.url}/a")

    assert asked == ["/a", "/b"]
    assert answered == [("/a", 302), ("/b", 200)]


async def test_a_request_hook_may_set_headers_on_each_hop(instrument, site):
    instrument(request_hook=lambda span, params: params.headers.update({"X-Path": params.url.path}))
    site.redirect("/a", "/b")

    async with aiohttp.ClientSession() as session:
        await fetch(session, f"{site.url}/a")

    assert site.header("X-Path") == ["/a", "/b"]


@pytest.mark.parametrize("hook", ["request_hook", "response_hook"])
async def test_a_hook_that_raises_is_logged_once_and_changes_nothing(instrument, telemetry, site, caplog, hook):
    def broken(*_):
        raise ZeroDivisionError

    instrument(**{hook: broken})

    async with aiohttp.ClientSession() as session:
        for _ in range(3):
            assert await fetch(session, site.url) == b"ok"

    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "broken raised ZeroDivisionError" in warnings[0]
    assert len(telemetry.spans) == 3


async def test_what_a_receiver_of_the_user_raises_reaches_the_user_and_ends_the_span(instrument, telemetry, site):
    class OwnError(Exception):
        pass

    async def broken(session, context, params):
        raise OwnError

    users = aiohttp.TraceConfig()
    users.on_connection_create_start.append(broken)
    instrument()

    async with aiohttp.ClientSession(trace_configs=[users]) as session:
        with pytest.raises(OwnError):
            await fetch(session, site.url)

    assert telemetry.span.attributes["error.type"].endswith("OwnError")
