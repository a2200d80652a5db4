import asyncio
import contextvars
from threading import Thread

import pytest
from opentelemetry import baggage
from opentelemetry.context import attach
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

from hopline import Context, detached
from hopline.context import begin
from hopline.request_id import is_valid


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


@pytest.fixture
def tracer(provider):
    return provider.get_tracer(__name__)


def named(exporter, name):
    (span,) = (span for span in exporter.get_finished_spans() if span.name == name)
    return span


def test_the_work_is_the_root_of_a_trace_of_its_own_linked_to_the_span_that_started_it(exporter, provider, tracer):
    with tracer.start_as_current_span("request"), detached("work", tracer_provider=provider):
        pass

    request, work = named(exporter, "request"), named(exporter, "work")
    assert work.parent is None
    assert work.kind is SpanKind.INTERNAL
    assert work.context.trace_id != request.context.trace_id
    assert [link.context for link in work.links] == [request.context]


def test_the_link_can_be_left_out(exporter, provider, tracer):
    with tracer.start_as_current_span("request"), detached("work", link=False, tracer_provider=provider):
        pass

    assert list(named(exporter, "work").links) == []


def test_with_no_span_to_link_to_there_is_no_link(exporter, provider):
    with detached("work", tracer_provider=provider):
        pass

    assert list(named(exporter, "work").links) == []


def test_spans_in_the_work_belong_to_its_trace(exporter, provider, tracer):
    with (
        tracer.start_as_current_span("request"),
        detached("work", tracer_provider=provider),
        tracer.start_as_current_span("step"),
    ):
        pass

    assert named(exporter, "step").parent == named(exporter, "work").context


def test_the_request_s_span_is_current_again_afterwards(provider, tracer):
    with tracer.start_as_current_span("request") as span:
        with detached(tracer_provider=provider):
            pass

        assert get_current_span() is span


def test_the_request_id_the_extras_and_the_baggage_go_along(provider):
    attach(baggage.set_baggage("tenant", "acme"))
    with begin("abc"), Context.logging(user="ada"), detached(tracer_provider=provider):
        seen = Context.request_id, dict(Context.logging.extras), baggage.get_baggage("tenant")

    assert seen == ("abc", {"user": "ada"}, "acme")


def test_work_that_no_request_started_gets_an_id(provider):
    with detached(tracer_provider=provider):
        assert is_valid(Context.request_id)


def test_the_deadline_and_the_totals_stay_behind(provider):
    with begin("abc") as begun:
        Context.set_relative_deadline(-1)
        with detached(tracer_provider=provider):
            deadline = Context.deadline
            Context.track("sql", 1)

    assert deadline is None
    assert begun.state.scope.totals() == {}


def test_what_the_work_sets_does_not_reach_the_request(provider):
    with begin("abc"):
        with detached(tracer_provider=provider):
            Context.request_id = "changed"
            Context.logging.push(user="ada")

        assert (Context.request_id, dict(Context.logging.extras)) == ("abc", {})


def test_an_error_ends_the_span_as_an_error_and_is_raised(exporter, provider):
    with pytest.raises(KeyError), detached("work", tracer_provider=provider):
        raise KeyError("k")

    assert named(exporter, "work").status.status_code is StatusCode.ERROR


def test_one_may_be_entered_again_before_it_is_left(exporter, provider):
    work = detached("work", tracer_provider=provider)

    with work as outer:
        with work as inner:
            during = get_current_span()
        after = get_current_span()

    assert (during, after) == (inner, outer)
    assert [span.context for span in exporter.get_finished_spans()] == [inner.context, outer.context]


def test_one_may_be_entered_by_several_tasks_at_the_same_time(exporter, provider, caplog):
    work = detached("work", tracer_provider=provider)

    async def refresh(turns):
        with work as span:
            for _ in range(turns):
                await asyncio.sleep(0)
            return get_current_span() is span

    async def main():
        return await asyncio.gather(refresh(1), refresh(3), refresh(2))

    assert asyncio.run(main()) == [True, True, True]
    assert len(exporter.get_finished_spans()) == 3
    assert caplog.text == ""


def test_a_decorated_function_is_detached_at_each_call_under_its_name(exporter, provider, tracer):
    @detached(tracer_provider=provider)
    def refresh(value):
        return value

    with tracer.start_as_current_span("request"):
        returned = [refresh(1), refresh(2)]

    spans = [span for span in exporter.get_finished_spans() if span.name.endswith("refresh")]
    assert returned == [1, 2]
    assert len({span.context.trace_id for span in spans}) == 2
    assert [len(span.links) for span in spans] == [1, 1]


def test_a_decorated_coroutine_function_is_detached_until_it_returns(exporter, provider):
    @detached("refresh", tracer_provider=provider)
    async def refresh():
        await asyncio.sleep(0)
        return get_current_span().get_span_context()

    assert asyncio.run(refresh()) == named(exporter, "refresh").context


def test_a_generator_function_cannot_be_detached():
    def generator():
        yield

    with pytest.raises(TypeError, match="generator function"):
        detached()(generator)


def test_a_thread_that_outlives_the_block_keeps_what_it_was_given(provider, tracer):
    seen = []
    with tracer.start_as_current_span("request"), detached(tracer_provider=provider) as work:
        context = contextvars.copy_context()
    thread = Thread(target=context.run, args=(lambda: seen.append(get_current_span()),))
    thread.start()
    thread.join()

    assert seen == [work]
