import asyncio
import contextvars
import logging
import uuid
from threading import Thread

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace

from hopline import Context
from hopline.context import begin, end, with_request_id
from hopline.propagators import RequestIdPropagator
from hopline.request_id import is_valid


def sent(context=None):
    carrier = {}
    RequestIdPropagator().inject(carrier, context)
    return carrier


def extras():
    return dict(Context.logging.extras)


class TestRequestId:
    def test_there_is_none_outside_of_any_request(self):
        assert Context.request_id is None

    def test_a_new_context_has_a_generated_id(self):
        request_id = Context.new()

        assert is_valid(request_id)
        assert Context.request_id == request_id

    def test_a_generated_id_is_a_random_uuid(self):
        made = [uuid.UUID(Context.new()) for _ in range(64)]

        assert {(each.version, each.variant) for each in made} == {(4, uuid.RFC_4122)}
        assert len({*made}) == 64

    def test_a_new_context_has_the_id_that_is_given(self):
        Context.new("order-17")

        assert Context.request_id == "order-17"

    def test_a_new_context_keeps_nothing_of_the_one_before(self):
        Context.new("first")
        Context.logging.push(user="ada")
        Context.set_relative_deadline(1000)
        Context.track("sql", 1)

        Context.new("second")

        assert (extras(), Context.deadline, Context.totals) == ({}, None, {})

    def test_setting_the_id_begins_a_context(self):
        Context.request_id = "order-17"

        assert Context.request_id == "order-17"

    def test_setting_the_id_keeps_the_rest_of_the_context(self):
        Context.new("first")
        Context.logging.push(user="ada")

        Context.request_id = "second"

        assert extras() == {"user": "ada"}

    def test_setting_the_id_to_none_takes_it_away(self):
        Context.new("order-17")

        Context.request_id = None

        assert Context.request_id is None

    @pytest.mark.parametrize("hostile", ["a\nb", "x" * 4096, "\x00", "é", "a b", "\x1b[31m", ""])
    def test_an_id_that_is_not_valid_is_replaced_with_a_warning_that_does_not_show_it(self, hostile, caplog):
        Context.new(hostile)

        assert is_valid(Context.request_id)
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert not hostile or hostile not in record.getMessage()

    def test_clear_ends_the_context(self):
        Context.new("order-17")
        Context.logging.push(user="ada")
        Context.set_relative_deadline(1000)

        Context.clear()

        assert (Context.request_id, extras(), Context.deadline) == (None, {}, None)


class TestSpans:
    def test_what_is_set_in_a_span_stays_when_the_span_ends(self, tracer):
        Context.new("first")

        with tracer.start_as_current_span("span"):
            Context.request_id = "second"
            Context.logging.push(user="ada")

        assert (Context.request_id, extras()) == ("second", {"user": "ada"})

    def test_a_context_that_begins_in_a_span_stays_when_the_span_ends(self, tracer):
        with tracer.start_as_current_span("span"):
            Context.new("order-17")

        assert Context.request_id == "order-17"

    def test_a_context_that_is_cleared_in_a_span_stays_cleared(self, tracer):
        Context.new("order-17")

        with tracer.start_as_current_span("span"):
            Context.clear()

        assert Context.request_id is None

    def test_a_context_that_replaces_another_in_a_span_stays_when_the_span_ends(self, tracer):
        Context.new("first")

        with tracer.start_as_current_span("span"):
            Context.new("second")

        assert Context.request_id == "second"
        assert sent()["X-Request-Id"].endswith("-second")

    def test_what_is_sent_after_the_span_has_the_id_that_was_set_in_it(self, tracer):
        with tracer.start_as_current_span("span"):
            Context.new("abc")

        assert sent()["X-Request-Id"].endswith("-abc")

    def test_an_opentelemetry_context_that_was_kept_keeps_the_id_of_its_request(self):
        Context.new("first")
        kept = otel_context.get_current()

        Context.new("second")

        assert sent(kept)["X-Request-Id"].endswith("-first")

    def test_an_opentelemetry_context_that_was_kept_has_the_newest_of_its_request(self):
        Context.new("first")
        kept = otel_context.get_current()

        Context.request_id = "changed"

        assert sent(kept)["X-Request-Id"].endswith("-changed")

    def test_a_context_begun_in_one_that_was_extracted_ends_with_it(self):
        token = otel_context.attach(with_request_id(otel_context.Context(), "extracted"))
        Context.new("begun in it")
        otel_context.detach(token)

        assert Context.request_id is None

    def test_setting_the_id_leaves_the_current_span_alone(self, tracer):
        with tracer.start_as_current_span("span") as span:
            Context.new("order-17")

            assert trace.get_current_span() is span


class TestServing:
    def test_a_request_has_the_given_id_until_it_ends(self):
        begun = begin("abc")
        during = Context.request_id
        end(begun)

        assert (during, Context.request_id) == ("abc", None)

    def test_a_request_has_the_id_that_its_context_was_extracted_with(self):
        with begin(context=with_request_id(otel_context.Context(), "abc")):
            assert Context.request_id == "abc"

    def test_a_request_without_an_id_gets_a_generated_one(self):
        with begin():
            assert is_valid(Context.request_id)

    def test_a_request_with_an_invalid_id_gets_a_generated_one(self, caplog):
        with begin("a\nb"):
            assert is_valid(Context.request_id)

    def test_a_request_sees_nothing_of_the_application_around_it(self):
        Context.new("outer")
        Context.logging.push(user="ada")
        Context.set_relative_deadline(1000)
        Context.track("sql", 1)

        with begin():
            assert Context.request_id != "outer"
            assert (extras(), Context.deadline, Context.totals) == ({}, None, {})

    def test_what_was_before_is_back_when_a_request_ends(self, tracer):
        Context.new("outer")
        with tracer.start_as_current_span("span"):
            Context.request_id = "changed"
        before = otel_context.get_current()

        with begin("inner"):
            Context.new("another")
            Context.logging.push(user="ada")

        assert (Context.request_id, extras()) == ("changed", {})
        assert otel_context.get_current() is before

    def test_a_context_begun_in_a_request_ends_with_it(self):
        with begin("abc"):
            Context.new("another")

        assert Context.request_id is None

    def test_ending_a_request_twice_ends_it_once(self):
        Context.new("outer")
        begun = begin("inner")
        end(begun)
        Context.request_id = "later"

        end(begun)

        assert Context.request_id == "later"

    def test_a_request_that_ends_in_another_thread_changes_nothing_there(self, caplog):
        begun = begin("abc")
        seen = []

        def elsewhere():
            Context.new("theirs")
            end(begun)
            seen.append(Context.request_id)

        thread = Thread(target=contextvars.Context().run, args=(elsewhere,))
        thread.start()
        thread.join()

        assert seen == ["theirs"]
        assert Context.request_id == "abc"
        assert caplog.records == []

    def test_a_request_can_still_end_where_it_began_after_it_ended_elsewhere(self):
        begun = begin("abc")
        contextvars.copy_context().run(end, begun)

        end(begun)

        assert Context.request_id is None

    def test_requests_in_tasks_do_not_see_each_other(self):
        async def serve(request_id, turn):
            with begin(request_id):
                await turn.wait()
                return Context.request_id

        async def both():
            turn = asyncio.Event()
            tasks = [asyncio.create_task(serve(name, turn)) for name in ("a", "b")]
            await asyncio.sleep(0)
            turn.set()
            return await asyncio.gather(*tasks)

        assert asyncio.run(both()) == ["a", "b"]


class TestTasks:
    def test_a_task_inherits_the_context(self):
        async def main():
            Context.new("abc")
            Context.logging.push(user="ada")
            return await asyncio.create_task(child())

        async def child():
            return Context.request_id, extras()

        assert asyncio.run(main()) == ("abc", {"user": "ada"})

    def test_what_a_task_sets_reaches_neither_its_parent_nor_its_sibling(self):
        async def main():
            Context.new("abc")
            await asyncio.create_task(child())
            return (Context.request_id, extras()), await asyncio.create_task(sibling())

        async def child():
            Context.request_id = "changed"
            Context.logging.push(user="ada")

        async def sibling():
            return Context.request_id, extras()

        assert asyncio.run(main()) == (("abc", {}), ("abc", {}))


class TestTotals:
    def test_they_are_added_up_by_kind(self):
        Context.new()

        Context.track("sql", 2)
        Context.track("sql", 0.5)
        Context.track("cache", 1)

        assert Context.totals == {"sql": (2, 2.5), "cache": (1, 1.0)}

    def test_tracking_without_a_context_begins_one(self):
        Context.track("sql", 2)

        assert Context.totals == {"sql": (1, 2.0)}

    def test_clear_ends_them(self):
        Context.track("sql", 2)
        Context.clear()
        cleared = Context.totals
        Context.track("cache", 1)

        assert (cleared, Context.totals) == ({}, {"cache": (1, 1.0)})

    def test_there_are_none_outside_of_any_request(self):
        assert Context.totals == {}

    def test_tasks_add_to_the_request_that_they_serve(self):
        async def main():
            with begin() as begun:
                await asyncio.gather(*(asyncio.create_task(child()) for _ in range(3)))
            return begun.state.scope.totals()

        async def child():
            Context.logging.push(a=1)
            Context.track("sql", 1)

        assert asyncio.run(main()) == {"sql": (3, 3.0)}

    def test_kinds_past_the_64th_are_added_up_as_other(self):
        for number in range(70):
            Context.track(f"kind-{number}", 1)

        assert len(Context.totals) == 65
        assert Context.totals["other"] == (6, 6.0)

    @pytest.mark.parametrize("ms", [-1, float("nan"), float("inf")])
    def test_what_is_no_duration_is_refused(self, ms):
        with pytest.raises(ValueError, match="not a duration"):
            Context.track("sql", ms)
