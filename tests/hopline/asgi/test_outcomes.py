"""How a request over ASGI may end: answered, failed, left by its client, cancelled; and who is to blame."""

from __future__ import annotations

import asyncio
import sys

import pytest
import trio
from opentelemetry.trace import StatusCode

from hopline import Context
from tests.asgi_gateway import AsgiGateway, hello

DURATION = "http.server.request.duration"
START = {"type": "http.response.start", "status": 200, "headers": []}


class Boom(Exception):
    pass


def sending(*messages):
    async def app(scope, receive, send):
        for message in messages:
            await send(message)

    return app


async def until_it_has_left(receive):
    while (await receive())["type"] != "http.disconnect":
        pass


def test_an_exception_in_a_background_task_goes_through_and_changes_nothing(wrap, telemetry):
    async def app(scope, receive, send):
        await hello(scope, receive, send)
        raise Boom

    with pytest.raises(Boom):
        AsgiGateway(wrap(app)).serve()

    assert telemetry.span.status.status_code is StatusCode.UNSET


def test_an_exception_before_the_response_goes_through_and_is_told_as_a_500(wrap, telemetry):
    async def app(scope, receive, send):
        raise Boom("no")

    with pytest.raises(Boom):
        AsgiGateway(wrap(app)).serve()

    assert telemetry.span.attributes["http.response.status_code"] == 500
    assert telemetry.span.attributes["error.type"] == f"{__name__}.Boom"
    assert Context.request_id is None


def test_an_error_page_and_the_exception_behind_it_are_one_error(wrap, telemetry):
    async def app(scope, receive, send):
        await send({**START, "status": 500})
        await send({"type": "http.response.body", "body": b"sorry"})
        raise Boom

    with pytest.raises(Boom):
        AsgiGateway(wrap(app)).serve()

    assert telemetry.span.attributes["error.type"] == f"{__name__}.Boom"


def test_an_application_that_does_not_answer_is_told_as_the_500_that_the_server_sends(wrap, telemetry):
    AsgiGateway(wrap(sending())).serve()

    assert telemetry.span.attributes["http.response.status_code"] == 500
    assert telemetry.span.attributes["error.type"] == "500"


def test_a_client_that_leaves_before_the_answer_is_no_error(wrap, telemetry):
    async def app(scope, receive, send):
        await until_it_has_left(receive)

    AsgiGateway(wrap(app)).serve()

    assert telemetry.span.attributes["hopline.outcome"] == "disconnected"
    assert "http.response.status_code" not in telemetry.span.attributes
    assert telemetry.span.status.status_code is StatusCode.UNSET
    assert telemetry.point(DURATION).attributes["hopline.outcome"] == "disconnected"


def test_a_client_that_leaves_during_the_answer_keeps_its_status(wrap, telemetry):
    async def app(scope, receive, send):
        await send(START)
        await send({"type": "http.response.body", "body": b"1", "more_body": True})
        await until_it_has_left(receive)

    AsgiGateway(wrap(app)).serve()

    assert telemetry.span.attributes["hopline.outcome"] == "disconnected"
    assert telemetry.span.attributes["http.response.status_code"] == 200


class UnexpectedMessageError(Exception):
    """As hypercorn's is called."""


class ClientDisconnect(Exception):
    """As Starlette's is called."""


@pytest.mark.parametrize("refusal", [ConnectionResetError, UnexpectedMessageError])
def test_a_server_that_takes_no_more_says_that_the_client_has_left(refusal, wrap, telemetry):
    def take(message):
        if len(gateway.sent) == 3:
            raise refusal

    gateway = AsgiGateway(wrap(sending(START, *[{"type": "http.response.body", "body": b"x", "more_body": True}] * 9)))
    gateway.on_send = take

    with pytest.raises(refusal):
        gateway.serve()

    attributes = telemetry.span.attributes
    assert (attributes["hopline.outcome"], attributes["http.response.status_code"]) == ("disconnected", 200)
    assert "error.type" not in attributes


def test_what_a_server_refuses_for_the_applications_own_fault_is_an_error(wrap, telemetry):
    def refuse(message):
        raise UnexpectedMessageError

    gateway = AsgiGateway(wrap(sending({"type": "http.response.body", "body": b"too early"})))
    gateway.on_send = refuse

    with pytest.raises(UnexpectedMessageError):
        gateway.serve()

    assert telemetry.span.attributes["error.type"].endswith("UnexpectedMessageError")


@pytest.mark.parametrize("wrong", [{"headers": None}, {"status": None}, {"status": "fine"}])
def test_a_start_that_is_none_reaches_the_server_as_it_is_and_without_a_word_of_ours(wrap, telemetry, caplog, wrong):
    start = {**START, **wrong}

    def refuse(message):
        raise TypeError

    gateway = AsgiGateway(wrap(sending(start)))
    gateway.on_send = refuse

    with pytest.raises(TypeError):
        gateway.serve()

    assert gateway.sent == [start]
    assert telemetry.span.attributes["http.response.status_code"] == 500
    assert "hopline" not in {record.name for record in caplog.records}


def test_a_status_that_is_a_text_which_hypercorn_takes_is_told_as_a_number(wrap, telemetry):
    AsgiGateway(wrap(sending({**START, "status": "404"}, {"type": "http.response.body"}))).serve()

    assert telemetry.span.attributes["http.response.status_code"] == 404
    assert len(telemetry.points(DURATION)) == 1


def test_an_application_that_says_that_the_client_has_left_has_not_failed(wrap, telemetry):
    async def app(scope, receive, send):
        await until_it_has_left(receive)
        raise ClientDisconnect

    with pytest.raises(ClientDisconnect):
        AsgiGateway(wrap(app)).serve()

    assert telemetry.span.attributes["hopline.outcome"] == "disconnected"
    assert telemetry.span.status.status_code is StatusCode.UNSET


def test_an_error_page_that_nobody_gets_is_no_error(wrap, telemetry):
    async def app(scope, receive, send):
        await until_it_has_left(receive)
        # As Starlette's outermost middleware does: it answers, and raises again.
        await send({**START, "status": 500})
        await send({"type": "http.response.body", "body": b"Internal Server Error"})
        raise ClientDisconnect

    with pytest.raises(ClientDisconnect):
        AsgiGateway(wrap(app)).serve()

    attributes = telemetry.span.attributes
    assert attributes["hopline.outcome"] == "disconnected"
    assert "http.response.status_code" not in attributes
    assert telemetry.span.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("status", [400, 500])
def test_an_answer_that_nobody_gets_is_none(wrap, telemetry, status):
    async def app(scope, receive, send):
        await until_it_has_left(receive)
        await send({**START, "status": status})
        await send({"type": "http.response.body", "body": b"you have left"})

    AsgiGateway(wrap(app)).serve()

    assert telemetry.span.attributes["hopline.outcome"] == "disconnected"
    assert "http.response.status_code" not in telemetry.span.attributes


def test_a_stream_that_ends_after_its_client_has_left_is_not_complete(wrap, telemetry):
    async def app(scope, receive, send):
        await send(START)
        await until_it_has_left(receive)
        await send({"type": "http.response.body"})

    AsgiGateway(wrap(app)).serve()

    attributes = telemetry.span.attributes
    assert (attributes["hopline.outcome"], attributes["http.response.status_code"]) == ("disconnected", 200)


def test_a_client_that_leaves_while_the_end_is_being_sent_has_had_the_response(wrap, telemetry):
    gone = asyncio.Event()

    async def app(scope, receive, send):
        await send(START)
        await asyncio.gather(send({"type": "http.response.body"}), receive())

    async def receive():
        gone.set()
        return {"type": "http.disconnect"}

    async def send(message):
        if message["type"] == "http.response.body":
            await gone.wait()

    asyncio.run(wrap(app)({"type": "http", "method": "GET", "path": "/"}, receive, send))

    assert telemetry.span.attributes["http.response.status_code"] == 200
    assert "hopline.outcome" not in telemetry.span.attributes


def test_an_error_of_the_applications_own_is_one_though_the_client_has_left(wrap, telemetry):
    async def app(scope, receive, send):
        await until_it_has_left(receive)
        await send({**START, "status": 500})
        await send({"type": "http.response.body"})
        raise Boom

    with pytest.raises(Boom):
        AsgiGateway(wrap(app)).serve()

    assert telemetry.span.attributes["error.type"] == f"{__name__}.Boom"


def test_a_request_that_the_server_cancels_is_measured_and_no_error(wrap, telemetry):
    async def app(scope, receive, send):
        await asyncio.Event().wait()

    async def serve():
        task = asyncio.ensure_future(AsgiGateway(wrap(app)).run())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(serve())
    assert telemetry.span.attributes["hopline.outcome"] == "cancelled"
    assert telemetry.span.status.status_code is StatusCode.UNSET
    assert telemetry.point(DURATION).count == 1


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 does not tell who was cancelled")
def test_an_application_that_awaits_what_somebody_else_has_cancelled_has_failed(wrap, telemetry):
    async def app(scope, receive, send):
        shared = asyncio.ensure_future(asyncio.Event().wait())
        asyncio.get_running_loop().call_soon(shared.cancel)
        await shared

    with pytest.raises(asyncio.CancelledError):
        AsgiGateway(wrap(app)).serve()

    attributes = telemetry.span.attributes
    assert (attributes["error.type"], attributes["http.response.status_code"]) == (
        "asyncio.exceptions.CancelledError",
        500,
    )


async def asleep_in_tasks():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        nursery.start_soon(trio.sleep_forever)


@pytest.mark.parametrize("wait", [trio.sleep_forever, asleep_in_tasks])
def test_a_request_that_a_server_on_trio_cancels_is_no_error(wrap, telemetry, wait):
    async def app(scope, receive, send):
        await wait()

    async def serve():
        with trio.CancelScope() as scope:
            scope.cancel()
            await AsgiGateway(wrap(app)).run()

    trio.run(serve)

    assert telemetry.span.attributes["hopline.outcome"] == "cancelled"
    assert telemetry.span.status.status_code is StatusCode.UNSET


def test_an_error_beside_a_cancellation_is_one(wrap, telemetry):
    async def fail():
        raise Boom

    async def app(scope, receive, send):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(fail)

    async def serve():
        with trio.CancelScope() as scope:
            scope.cancel()
            await AsgiGateway(wrap(app)).run()

    with pytest.raises(Exception, match="Exceptions from Trio nursery"):
        trio.run(serve)

    assert telemetry.span.status.status_code is StatusCode.ERROR
