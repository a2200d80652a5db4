import asyncio
import inspect
import logging
from contextlib import contextmanager

import pytest

from hopline import Context
from hopline.context import begin


def extras():
    return dict(Context.logging.extras)


class TestExtras:
    def test_what_is_pushed_is_there_until_it_is_popped(self):
        Context.logging.push(user="ada", step=1)
        pushed = extras()

        Context.logging.pop()

        assert (pushed, extras()) == ({"user": "ada", "step": 1}, {})

    def test_a_push_hides_what_was_pushed_before_until_it_is_popped(self):
        Context.logging.push(step=1)
        Context.logging.push(step=2)
        hidden = extras()

        Context.logging.pop()

        assert (hidden, extras()) == ({"step": 2}, {"step": 1})

    def test_unwinding_undoes_the_push_that_returned_the_level_and_those_after_it(self):
        Context.logging.push(a=1)
        level = Context.logging.push(b=2)
        Context.logging.push(c=3)

        Context.logging.unwind(level)

        assert extras() == {"a": 1}

    def test_unwinding_to_a_level_above_does_nothing(self):
        Context.logging.push(a=1)

        Context.logging.unwind(7)

        assert extras() == {"a": 1}

    def test_unwinding_below_the_ground_undoes_every_push(self):
        Context.logging.push(a=1)

        Context.logging.unwind(-1)

        assert extras() == {}

    def test_popping_nothing_does_nothing(self):
        Context.logging.pop()

        assert extras() == {}

    def test_pushing_without_a_context_begins_one_and_warns_nobody(self, caplog):
        Context.logging.push(a=1)

        assert extras() == {"a": 1}
        assert caplog.records == []

    def test_extras_end_with_the_request(self):
        with begin("abc"):
            Context.logging.push(a=1)

        assert extras() == {}

    def test_a_loop_that_only_pushes_stops_growing_and_keeps_the_newest(self):
        levels = {Context.logging.push(row=row) for row in range(3000)}

        assert max(levels) <= 1000
        assert extras() == {"row": 2999}

    def test_a_name_that_every_record_has_is_renamed_with_one_warning(self, caplog):
        Context.logging.push(threadName="x")
        Context.logging.push(threadName="y")

        assert extras() == {"threadName_": "y"}
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert "threadName_" in record.getMessage()

    def test_extras_cannot_be_changed_but_by_pushing(self):
        Context.logging.push(a=1)

        with pytest.raises(TypeError):
            Context.logging.extras["a"] = 2


class TestExtrasOfABlock:
    def test_they_hold_in_the_block(self):
        with Context.logging(a=1):
            inside = extras()

        assert (inside, extras()) == ({"a": 1}, {})

    def test_they_end_with_the_block_when_it_raises(self):
        with pytest.raises(RuntimeError), Context.logging(a=1):
            raise RuntimeError

        assert extras() == {}

    def test_what_is_pushed_in_the_block_ends_with_it(self):
        with Context.logging(a=1):
            Context.logging.push(b=2)

        assert extras() == {}

    def test_the_block_may_be_entered_again_while_it_lasts(self):
        block = Context.logging(a=1)
        with block:
            with block:
                pass
            inside = extras()

        assert (inside, extras()) == ({"a": 1}, {})

    def test_a_block_that_ends_after_its_request_leaves_the_next_alone(self):
        block = Context.logging(a=1)
        block.__enter__()
        Context.new("next")
        Context.logging.push(b=2)

        block.__exit__(None, None, None)

        assert extras() == {"b": 2}

    def test_they_outlast_a_span_that_ends_in_the_block(self, tracer):
        with Context.logging(a=1):
            with tracer.start_as_current_span("span"):
                Context.logging.push(b=2)
            inside = extras()

        assert (inside, extras()) == ({"a": 1, "b": 2}, {})


class TestExtrasOfAFunction:
    def test_they_hold_while_a_function_runs(self):
        @Context.logging(a=1)
        def function(value, *, scale):
            return value * scale, extras()

        assert function(2, scale=3) == (6, {"a": 1})
        assert extras() == {}

    def test_they_hold_while_a_coroutine_runs(self):
        @Context.logging(a=1)
        async def coroutine():
            await asyncio.sleep(0)
            return extras()

        async def main():
            return await coroutine(), extras()

        assert asyncio.run(main()) == ({"a": 1}, {})

    def test_the_function_keeps_its_name_and_kind(self):
        @Context.logging(a=1)
        async def coroutine():
            """Documented."""

        assert coroutine.__name__ == "coroutine"
        assert inspect.iscoroutinefunction(coroutine)

    def test_recursion_keeps_them_until_the_outermost_call_returns(self):
        @Context.logging(a=1)
        def function(depth):
            return function(depth - 1) if depth else None, extras()

        assert function(1) == ((None, {"a": 1}), {"a": 1})
        assert extras() == {}

    def test_they_hold_in_a_generator_but_not_where_it_yields_to(self):
        @Context.logging(a=1)
        def generator():
            yield extras()
            yield extras()

        outside = []
        inside = []
        for seen in generator():
            inside.append(seen)
            outside.append(extras())

        assert inside == [{"a": 1}, {"a": 1}]
        assert outside == [{}, {}]

    def test_what_a_generator_pushes_stays_in_it(self):
        @Context.logging(a=1)
        def generator():
            with Context.logging(b=2):
                yield extras()
                yield extras()
            yield extras()

        assert list(generator()) == [{"a": 1, "b": 2}, {"a": 1, "b": 2}, {"a": 1}]
        assert extras() == {}

    def test_a_generator_still_receives_raises_and_returns(self):
        @Context.logging(a=1)
        def generator():
            received = yield "first"
            try:
                yield received
            except KeyError as error:
                yield repr(error)
            return "done"

        def outer():
            return (yield from generator())

        iterator = outer()
        seen = [next(iterator), iterator.send("sent"), iterator.throw(KeyError("k"))]
        with pytest.raises(StopIteration) as stop:
            next(iterator)

        assert seen == ["first", "sent", "KeyError('k')"]
        assert stop.value.value == "done"

    def test_a_generator_that_is_closed_cleans_up_with_its_extras(self):
        seen = []

        @Context.logging(a=1)
        def generator():
            try:
                yield
            finally:
                seen.append(extras())

        iterator = generator()
        next(iterator)
        iterator.close()

        assert seen == [{"a": 1}]
        assert extras() == {}

    def test_a_context_manager_made_of_a_generator_still_works(self):
        @contextmanager
        @Context.logging(a=1)
        def managed():
            yield extras()

        with managed() as inside:
            outside = extras()

        assert (inside, outside) == ({"a": 1}, {})

    def test_they_hold_in_an_asynchronous_generator_but_not_where_it_yields_to(self):
        @Context.logging(a=1)
        async def generator():
            await asyncio.sleep(0)
            with Context.logging(b=2):
                yield extras()
                yield extras()

        async def main():
            return [(inside, extras()) async for inside in generator()]

        assert asyncio.run(main()) == [({"a": 1, "b": 2}, {}), ({"a": 1, "b": 2}, {})]

    def test_an_asynchronous_generator_still_receives_raises_and_closes(self):
        seen = []

        @Context.logging(a=1)
        async def generator():
            try:
                seen.append((yield "first"))
                try:
                    yield "second"
                except KeyError as error:
                    yield repr(error)
            finally:
                seen.append(extras())

        async def main():
            iterator = generator()
            yielded = [await iterator.asend(None), await iterator.asend("sent"), await iterator.athrow(KeyError("k"))]
            await iterator.aclose()
            return yielded

        assert asyncio.run(main()) == ["first", "second", "KeyError('k')"]
        assert seen == ["sent", {"a": 1}]
