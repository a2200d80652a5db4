"""What is patched, for which sessions, and how it goes away."""

from __future__ import annotations

import asyncio
import gc
import threading

import aiohttp
import pytest
import wrapt

from hopline.aiohttp_client import AioHttpClientInstrumentor, create_trace_config
from tests.telemetry import Telemetry


async def fetch(session, url):
    async with session.get(url) as response:
        return await response.read()


def a_users_config(seen):
    async def note(session, context, params):
        seen.append(params.url.path)

    config = aiohttp.TraceConfig()
    config.on_request_start.append(note)
    return config


@pytest.fixture
def others():
    """Another telemetry than that of the instrumentor."""
    others = Telemetry()
    yield others
    others.shutdown()


def test_importing_the_room_imports_no_aiohttp(run_python):
    program = """
        import sys
        import opentelemetry.instrumentation.instrumentor, wrapt  # which may import ssl and asyncio
        before = set(sys.modules)
        from hopline.aiohttp_client import AioHttpClientInstrumentor
        AioHttpClientInstrumentor().instrument()
        print(sorted({"aiohttp", "yarl", "multidict", "ssl", "asyncio"} & set(sys.modules) - before))
        AioHttpClientInstrumentor().uninstrument()
    """

    assert run_python(program).strip() == "[]"


def test_aiohttp_that_is_imported_later_is_patched_then(run_python):
    program = """
        from hopline.aiohttp_client import AioHttpClientInstrumentor
        AioHttpClientInstrumentor().instrument()
        import aiohttp, wrapt
        print(isinstance(aiohttp.ClientSession.__dict__["_request"], wrapt.FunctionWrapper))
    """

    assert run_python(program).strip() == "True"


async def test_a_session_has_our_config_from_the_start(instrument):
    instrument()

    async with aiohttp.ClientSession() as session:
        assert len(session.trace_configs) == 1


async def test_aiohttp_warns_of_how_a_session_is_made_in_the_line_that_makes_it(instrument):
    instrument()

    with pytest.warns(DeprecationWarning, match="read_timeout") as warned:
        session = aiohttp.ClientSession(read_timeout=5)
    await session.close()

    assert [each.filename for each in warned] == [__file__]


async def test_ours_stays_the_last_where_the_application_adds_one_of_its_own(instrument, telemetry, site):
    seen = []
    instrument()

    async with aiohttp.ClientSession() as session:
        config = a_users_config(seen)
        config.freeze()
        session.trace_configs.append(config)
        await fetch(session, f"{site.url}/x")

        assert session.trace_configs[0] is config
        assert len(session.trace_configs) == 2
    assert (seen, len(telemetry.spans)) == (["/x"], 1)


def test_sessions_that_come_in_several_threads_at_once_get_the_same_config(instrument, site):
    together = threading.Barrier(8)
    configs = []

    async def make():
        together.wait()
        async with aiohttp.ClientSession() as session:
            configs.extend(session.trace_configs)

    instrument()
    threads = [threading.Thread(target=asyncio.run, args=(make(),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(configs) == 8
    assert len(set(map(id, configs))) == 1


async def test_sessions_made_before_are_reached(instrument, telemetry, site):
    async with aiohttp.ClientSession() as session:
        await fetch(session, site.url)
        instrument()
        await fetch(session, site.url)

    assert len(telemetry.spans) == 1


async def test_sessions_are_reached_when_what_stood_in_the_place_of_their_requests_has_gone(
    instrument, telemetry, site, monkeypatch
):
    with monkeypatch.context() as mocking:
        mocking.setattr(aiohttp.ClientSession, "_request", aiohttp.ClientSession._request)
        instrument()

    async with aiohttp.ClientSession() as session:
        await fetch(session, site.url)

    assert len(telemetry.spans) == 1


async def test_sessions_that_live_on_go_silent(instrument, telemetry, site):
    instrument()

    async with aiohttp.ClientSession() as session:
        await fetch(session, site.url)
        AioHttpClientInstrumentor().uninstrument()
        await fetch(session, site.url)

        assert session.trace_configs == []
    assert len(telemetry.spans) == 1
    assert site.header("traceparent")[1] is None


async def test_a_session_that_has_copied_our_config_from_another_goes_silent_too(instrument, telemetry, site):
    instrument()

    async with aiohttp.ClientSession() as session:
        await fetch(session, site.url)
        async with aiohttp.ClientSession(trace_configs=list(session.trace_configs)) as copy:
            AioHttpClientInstrumentor().uninstrument()
            await fetch(copy, site.url)

    assert len(telemetry.spans) == 1


async def test_nothing_stays_patched(instrument, site):
    gc.collect()  # configs that other tests have made for their own sessions need the patches too
    instrument()
    async with aiohttp.ClientSession() as session:
        await fetch(session, site.url)

    AioHttpClientInstrumentor().uninstrument()

    patched = (
        aiohttp.ClientSession,
        aiohttp.ClientResponse,
        aiohttp.BaseConnector,
        aiohttp.client,
        aiohttp.client_proto.ResponseHandler,
    )
    assert [
        (each, name) for each in patched for name, value in vars(each).items() if isinstance(value, wrapt.ObjectProxy)
    ] == []
    assert type(vars(aiohttp.ClientSession)["trace_configs"]) is property


async def test_a_request_that_has_begun_is_told_to_its_end(instrument, telemetry, site):
    instrument()

    async with aiohttp.ClientSession() as session, session.get(site.hold_body("/")) as response:
        AioHttpClientInstrumentor().uninstrument()
        site.release()
        await response.read()

    assert telemetry.point("hopline.http.client.body.duration").count == 1


async def test_it_goes_away_under_a_later_patch(instrument, telemetry, site):
    instrument()

    def passes_on(wrapped, instance, args, kwargs):
        return wrapped(*args, **kwargs)

    theirs = wrapt.FunctionWrapper(aiohttp.ClientSession.__dict__["_request"], passes_on)
    ours = aiohttp.ClientSession.__dict__["_request"]
    aiohttp.ClientSession._request = theirs
    try:
        AioHttpClientInstrumentor().uninstrument()
        async with aiohttp.ClientSession() as session:
            await fetch(session, site.url)
    finally:
        aiohttp.ClientSession._request = ours.__wrapped__

    assert telemetry.spans == []


async def test_instrumented_again_a_session_tells_to_the_new_telemetry_only(instrument, telemetry, others, site):
    instrument()

    async with aiohttp.ClientSession() as session:
        await fetch(session, site.url)
        AioHttpClientInstrumentor().uninstrument()
        instrument(**others.providers)
        await fetch(session, site.url)

    assert (len(telemetry.spans), len(others.spans)) == (1, 1)


async def test_one_session_is_left_alone(instrument, telemetry, site):
    instrument()

    async with aiohttp.ClientSession() as left_alone, aiohttp.ClientSession() as session:
        await fetch(left_alone, site.url)
        AioHttpClientInstrumentor.uninstrument_session(left_alone)
        await fetch(left_alone, site.url)
        await fetch(session, site.url)

    assert len(telemetry.spans) == 2
    assert [value is None for value in site.header("traceparent")] == [False, True, False]


async def test_one_session_is_told_of_without_the_others(telemetry, site):
    async with aiohttp.ClientSession(trace_configs=[create_trace_config(**telemetry.providers)]) as session:
        async with aiohttp.ClientSession() as other:
            await fetch(other, site.url)
        await fetch(session, site.url)

    assert [value is None for value in site.header("traceparent")] == [True, False]
    assert telemetry.span.attributes["hopline.connection.reused"] is False


def test_an_argument_that_there_is_not_is_refused():
    with pytest.raises(TypeError, match="create_trace_config has no argument 'exclude_urls'"):
        create_trace_config(exclude_urls="health")


def test_a_url_filter_that_is_no_function_is_refused():
    with pytest.raises(ValueError, match="url_filter="):
        create_trace_config(url_filter="https://")


async def test_a_session_with_a_config_of_its_own_is_told_of_once_and_in_its_own_way(
    instrument, telemetry, others, site
):
    instrument()

    async with aiohttp.ClientSession(trace_configs=[create_trace_config(**others.providers)]) as session:
        await fetch(session, site.url)

    assert (len(telemetry.spans), len(others.spans)) == (0, 1)
    assert len(site.received[0].headers.getall("traceparent")) == 1


async def test_a_session_with_a_config_of_its_own_goes_on_when_all_are_uninstrumented(instrument, telemetry, site):
    instrument()
    site.redirect("/a", "/b")

    async with aiohttp.ClientSession(trace_configs=[create_trace_config(**telemetry.providers)]) as session:
        AioHttpClientInstrumentor().uninstrument()
        await fetch(session, f"{site.url}/a")

    assert [span.attributes["http.response.status_code"] for span in telemetry.spans] == [302, 200]


async def test_configs_of_the_user_keep_working_and_ours_is_the_last(instrument, telemetry, site):
    seen = []
    given = (a_users_config(seen),)
    instrument()

    async with aiohttp.ClientSession(trace_configs=given) as session:
        await fetch(session, f"{site.url}/x")

        assert session.trace_configs[:-1] == list(given)
    assert seen == ["/x"]
    assert len(telemetry.spans) == 1


async def test_a_list_of_configs_that_the_application_shares_is_not_changed(instrument, telemetry, site):
    shared = [a_users_config([])]
    instrument()

    async with (
        aiohttp.ClientSession(trace_configs=shared) as first,
        aiohttp.ClientSession(trace_configs=shared) as second,
    ):
        await fetch(first, site.url)
        await fetch(second, site.url)

    assert len(shared) == 1
    assert len(telemetry.spans) == 2


async def test_configs_for_all_sessions_are_given_to_each_and_taken_back(instrument, site):
    seen = []
    instrument(trace_configs=[a_users_config(seen)])

    async with aiohttp.ClientSession() as session:
        await fetch(session, f"{site.url}/told")
        AioHttpClientInstrumentor().uninstrument()
        await fetch(session, f"{site.url}/untold")

    assert seen == ["/told"]


async def test_a_config_of_ours_that_is_given_for_all_sessions_tells_each_request_once(
    instrument, telemetry, others, site
):
    config = create_trace_config(**others.providers)

    for _ in range(2):
        instrument(trace_configs=[config])
        async with aiohttp.ClientSession() as session:
            await fetch(session, site.url)
        AioHttpClientInstrumentor().uninstrument()

    assert (len(telemetry.spans), len(others.spans)) == (0, 2)


async def test_a_config_that_is_made_and_dropped_leaves_nothing_behind(telemetry, site):
    from hopline.aiohttp_client._wire import wire

    config = create_trace_config(**telemetry.providers)
    async with aiohttp.ClientSession(trace_configs=[config]) as session:
        await fetch(session, site.url)
    before = len(wire._users)

    del config, session
    gc.collect()

    assert len(wire._users) < before


async def test_the_users_receivers_on_our_config_may_keep_what_they_like_on_its_context(telemetry, site):
    seen = []
    config = create_trace_config(**telemetry.providers)

    async def begin(session, context, params):
        context.begun = params.url.path

    async def end(session, context, params):
        seen.append((context.begun, context.trace_request_ctx))

    config.on_request_start.append(begin)
    config.on_request_end.append(end)

    async with aiohttp.ClientSession(trace_configs=[config]) as session:
        await (await session.get(f"{site.url}/x", trace_request_ctx="mine")).read()

    assert seen == [("/x", "mine")]


def test_the_entry_point_leads_to_the_instrumentor():
    from importlib.metadata import entry_points

    (point,) = entry_points(
        group="opentelemetry_instrumentor",
        name="aiohttp-client",
        value="hopline.aiohttp_client:AioHttpClientInstrumentor",
    )

    assert point.load() is AioHttpClientInstrumentor
