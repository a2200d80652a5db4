import asyncio
import json
import pickle
import subprocess
import sys
from contextvars import copy_context
from datetime import datetime, timedelta, timezone
from time import time

import pytest
import requests
from opentelemetry.context import Context as OtelContext

from hopline import Context, DeadlineExceeded
from hopline._serving import Serving
from hopline.context import begin, bounded, time_left, with_deadline
from hopline.deadline import Deadline, deadline_exceeded, parse
from hopline.propagators import DeadlinePropagator
from hopline.wsgi import RequestContextMiddleware
from tests.gateway import Gateway

MOMENT = datetime(2030, 1, 31, 12, 0, 0, 250_000, tzinfo=timezone.utc)
TEXT = "2030-01-31T12:00:00.250Z"


class TestContext:
    def test_there_is_no_deadline_unless_one_is_set(self):
        assert (Context.deadline, Context.deadline_timeout()) == (None, None)

    def test_a_relative_deadline_is_milliseconds_from_now(self):
        before = datetime.now(timezone.utc)
        Context.set_relative_deadline(60_000)
        after = datetime.now(timezone.utc)

        millisecond = timedelta(milliseconds=1)
        assert before - millisecond <= Context.deadline - timedelta(seconds=60) <= after + millisecond

    @pytest.mark.parametrize(
        "deadline",
        [
            MOMENT,
            MOMENT.timestamp(),
            MOMENT.astimezone(timezone(timedelta(hours=5))),
            MOMENT.astimezone().replace(tzinfo=None),
        ],
        ids=["datetime", "timestamp", "other zone", "naive local time"],
    )
    def test_an_absolute_deadline_is_a_moment(self, deadline):
        Context.set_absolute_deadline(deadline)

        assert Context.deadline == MOMENT

    def test_a_deadline_can_be_taken_away(self):
        Context.set_relative_deadline(1000)

        Context.set_absolute_deadline(None)

        assert Context.deadline is None

    def test_setting_a_deadline_keeps_the_rest_of_the_context(self):
        Context.new("abc")

        Context.set_relative_deadline(1000)

        assert Context.request_id == "abc"

    @pytest.mark.parametrize("moment", [float("nan"), float("inf"), 1e18, -1e18])
    def test_what_is_no_moment_is_refused(self, moment):
        with pytest.raises(ValueError, match="not a moment"):
            Context.set_absolute_deadline(moment)

    def test_the_timeout_is_what_is_left(self):
        Context.set_relative_deadline(60_000)

        assert 0 < Context.deadline_timeout() <= 60.001

    def test_a_passed_deadline_raises(self):
        Context.set_relative_deadline(-1)

        with pytest.raises(DeadlineExceeded):
            Context.deadline_timeout()

    def test_the_timeout_is_one_that_a_socket_takes_however_far_the_deadline_is(self):
        import socket

        Context.set_absolute_deadline(datetime(9999, 12, 31, tzinfo=timezone.utc))

        with socket.socket() as unconnected:
            unconnected.settimeout(Context.deadline_timeout())


class TestBounding:
    def test_without_a_deadline_a_timeout_stays_as_it_is(self):
        assert (bounded(5), bounded(None), time_left()) == (5, None, None)

    def test_a_timeout_shorter_than_the_deadline_stays_as_it_is(self):
        Context.set_relative_deadline(60_000)

        assert bounded(5) == 5

    @pytest.mark.parametrize("timeout", [3600, None])
    def test_a_longer_timeout_or_none_becomes_what_is_left(self, timeout):
        Context.set_relative_deadline(60_000)

        assert 0 < bounded(timeout) <= 60.001

    def test_a_passed_deadline_raises(self):
        Context.set_relative_deadline(-1)

        with pytest.raises(DeadlineExceeded):
            bounded(5)


class TestWorkThatOutlivesItsRequest:
    """A thread that a library starts in a request, and that goes on when it has been answered."""

    @pytest.fixture
    def outlived(self):
        with begin("abc"):
            Context.set_relative_deadline(-1)
            context = copy_context()
        return context.run

    def test_it_may_ask_again(self, outlived):
        assert outlived(Context.deadline_timeout) is None

    def test_it_sees_no_deadline(self, outlived):
        assert outlived(lambda: Context.deadline) is None

    def test_it_sends_no_deadline(self, outlived):
        carrier = {}
        outlived(DeadlinePropagator().inject, carrier)

        assert carrier == {}

    def test_it_keeps_the_request_s_id(self, outlived):
        assert outlived(lambda: Context.request_id) == "abc"

    def test_a_deadline_that_it_sets_for_itself_holds(self, outlived):
        outlived(Context.set_relative_deadline, -1)

        with pytest.raises(DeadlineExceeded):
            outlived(Context.deadline_timeout)

    def test_one_that_was_set_in_a_context_that_the_application_began_in_the_request_is_over_too(self):
        with begin("abc"):
            Context.new("another")
            Context.set_relative_deadline(-1)
            context = copy_context()

        assert context.run(Context.deadline_timeout) is None

    def test_a_deadline_holds_through_all_steps_of_serving_a_request(self):
        serving = Serving(with_deadline(OtelContext(), Deadline(time() - 1)))
        serving.leave(serving.enter())
        step = serving.enter()

        with pytest.raises(DeadlineExceeded):
            Context.deadline_timeout()
        serving.leave(step)

    def test_one_of_a_request_that_a_server_has_answered_is_over(self):
        kept = []

        def app(environ, start_response):
            Context.set_relative_deadline(-1)
            kept.append(copy_context())
            start_response("200 OK", [])
            return []

        Gateway(RequestContextMiddleware(app)).serve()

        assert kept[0].run(Context.deadline_timeout) is None


class TestDeadlineExceeded:
    @pytest.mark.parametrize(
        "kind", [TimeoutError, asyncio.TimeoutError, requests.exceptions.Timeout, DeadlineExceeded]
    )
    def test_code_that_handles_timeouts_handles_it(self, kind):
        with pytest.raises(kind):
            raise deadline_exceeded()

    def test_it_has_what_an_error_of_requests_has(self):
        error = deadline_exceeded()

        assert (error.request, error.response) == (None, None)

    def test_it_can_be_raised_by_the_application(self):
        with pytest.raises(DeadlineExceeded, match="mine"):
            raise DeadlineExceeded("mine")

    def test_it_has_one_name_whatever_else_it_is(self):
        kinds = {type(deadline_exceeded()), DeadlineExceeded}

        assert {f"{kind.__module__}.{kind.__qualname__}" for kind in kinds} == {"hopline.deadline.DeadlineExceeded"}

    def test_it_can_be_pickled(self):
        error = pickle.loads(pickle.dumps(deadline_exceeded("too late")))

        assert isinstance(error, requests.exceptions.Timeout)
        assert str(error) == "too late"

    def test_raising_it_imports_neither_requests_nor_asyncio(self):
        program = (
            "import json, sys; from hopline import Context; Context.set_relative_deadline(-1)\n"
            "try: Context.deadline_timeout()\n"
            "except TimeoutError as error: print(json.dumps([type(error).__mro__[1].__name__,"
            " sorted({'asyncio', 'requests', 'ssl', 'urllib3'} & sys.modules.keys())]))"
        )

        printed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout

        assert json.loads(printed) == ["TimeoutError", []]


class TestText:
    def test_a_deadline_is_written_in_iso_8601_in_utc_to_the_millisecond(self):
        assert Deadline(MOMENT.timestamp()).text == TEXT

    @pytest.mark.parametrize(
        "text",
        [
            TEXT,
            "2030-01-31T12:00:00.25Z",
            "2030-01-31T12:00:00,250000000Z",
            "2030-01-31T12:00:00.250+00:00",
            "2030-01-31T14:00:00.25+0200",
        ],
    )
    def test_a_moment_is_read_in_each_way_to_write_it(self, text):
        assert parse(text).text == TEXT

    def test_what_was_read_is_written_unchanged(self):
        for millisecond in range(1000):
            text = f"2029-07-09T23:59:59.{millisecond:03}Z"
            assert parse(text).text == text

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "tomorrow",
            "1893499200",
            "2030-01-31",
            "2030-01-31T12:00:00",
            "2030-01-31 12:00:00Z",
            "2030-13-01T00:00:00Z",
            "2030-01-31T25:00:00Z",
            "2030-01-31T12:00:00.Z",
            "2030-01-31T12:00:00+99:99",
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-14:00",
            "٢٠٣٠-01-31T12:00:00Z",
            TEXT + "\n",
            "2030-01-31T12:00:00." + "0" * 4096 + "Z",
        ],
    )
    def test_anything_else_is_refused(self, text):
        with pytest.raises(ValueError, match=r".+"):
            parse(text)

    def test_what_is_left_does_not_depend_on_the_time_zone(self):
        assert parse("2030-01-31T14:00:00.250+02:00").left() == pytest.approx(
            min(MOMENT.timestamp() - time(), 24 * 86_400), abs=60
        )
