import logging
from datetime import datetime, timezone

import pytest
from opentelemetry.context import Context as OtelContext
from opentelemetry.context import get_current
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.util._importlib_metadata import entry_points

from hopline import Context
from hopline.context import begin, current
from hopline.propagators import DeadlinePropagator, RequestIdPropagator
from hopline.request_id import is_valid

TEXT = "2030-01-31T12:00:00.250Z"
HOSTILE = ["x" * 4096, "a\r\nX-Evil: 1", "a\x00b", "\udcff\udcfe", "%0d%0a", "%(name)s {0}", "\x1b[31mred", "", " abc"]


def sent(propagator, **kwargs):
    carrier = {}
    propagator.inject(carrier, **kwargs)
    return carrier


class TestRequestId:
    def extracted(self, carrier, context=None, **kwargs):
        return current(RequestIdPropagator(**kwargs).extract(carrier, context)).request_id

    @pytest.mark.parametrize("name", ["X-Request-Id", "x-request-id"])
    def test_a_valid_id_that_comes_in_is_kept(self, name):
        assert self.extracted({name: "abc"}) == "abc"

    @pytest.mark.parametrize("hostile", HOSTILE)
    def test_a_hostile_id_is_replaced_by_a_generated_one_and_not_logged(self, hostile, caplog):
        caplog.set_level(logging.DEBUG)

        request_id = self.extracted({"X-Request-Id": hostile})

        assert is_valid(request_id)
        assert request_id != hostile
        assert caplog.records == []

    def test_a_value_that_is_not_text_is_replaced(self):
        assert is_valid(self.extracted({"X-Request-Id": 17}))

    def test_without_one_the_context_s_id_is_kept(self):
        with begin("abc"):
            assert self.extracted({}, get_current()) == "abc"

    def test_without_any_one_is_generated(self):
        assert is_valid(self.extracted({}))

    def test_one_that_is_not_trusted_is_replaced(self):
        assert self.extracted({"X-Request-Id": "abc"}, trust_incoming=False) != "abc"

    def test_the_environment_can_distrust(self, monkeypatch):
        monkeypatch.setenv("OTEL_PYTHON_HOPLINE_TRUST_INCOMING", "false")

        assert self.extracted({"X-Request-Id": "abc"}) != "abc"

    def test_what_goes_out_leads_with_the_span_that_sends_it(self):
        tracer = TracerProvider(shutdown_on_exit=False).get_tracer(__name__)
        with begin("abc"), tracer.start_as_current_span("client") as span:
            assert sent(RequestIdPropagator()) == {"X-Request-Id": f"{span.get_span_context().span_id:016x}-abc"}

    def test_without_a_span_a_random_hop_leads(self):
        with begin("abc"):
            hop, _, root = sent(RequestIdPropagator())["X-Request-Id"].partition("-")

        assert (len(hop), root) == (16, "abc")

    def test_without_an_id_the_hop_goes_out_alone(self):
        assert len(sent(RequestIdPropagator())["X-Request-Id"]) == 16

    def test_forwarded_it_goes_out_as_it_is(self, monkeypatch):
        monkeypatch.setenv("OTEL_PYTHON_HOPLINE_REQUEST_ID_MODE", "forward")
        with begin("abc"):
            assert sent(RequestIdPropagator()) == {"X-Request-Id": "abc"}

    def test_one_that_the_caller_has_set_stays(self):
        carrier = {"x-request-ID": "mine"}

        RequestIdPropagator().inject(carrier)

        assert carrier == {"x-request-ID": "mine"}

    def test_its_field_is_the_header(self):
        assert RequestIdPropagator().fields == {"X-Request-Id"}


class TestDeadline:
    def extracted(self, carrier, context=None, **kwargs):
        state = current(DeadlinePropagator(**kwargs).extract(carrier, context))
        return None if state is None or state.deadline is None else state.deadline.text

    @pytest.mark.parametrize("name", ["X-Request-Deadline", "x-request-deadline"])
    def test_a_deadline_that_comes_in_holds(self, name):
        assert self.extracted({name: TEXT}) == TEXT

    def test_without_one_the_context_stays_as_it_is(self):
        context = OtelContext({"key": "value"})

        assert DeadlinePropagator().extract({}, context) is context

    @pytest.mark.parametrize("wrong", [*HOSTILE, "soon", "2030-01-31"])
    def test_a_wrong_one_is_ignored_with_a_debug_line_that_does_not_show_it(self, wrong, caplog):
        caplog.set_level(logging.DEBUG)

        assert self.extracted({"X-Request-Deadline": wrong}) is None

        (record,) = caplog.records
        assert record.levelno == logging.DEBUG
        assert not wrong or wrong not in record.getMessage()

    def test_one_that_is_not_trusted_is_ignored(self):
        assert self.extracted({"X-Request-Deadline": TEXT}, trust_incoming=False) is None

    def test_it_joins_the_id_that_was_extracted_before(self):
        context = RequestIdPropagator().extract({"X-Request-Id": "abc"})

        state = current(DeadlinePropagator().extract({"X-Request-Deadline": TEXT}, context))

        assert (state.request_id, state.deadline.text) == ("abc", TEXT)

    def test_the_id_that_is_extracted_after_it_joins_it(self):
        context = DeadlinePropagator().extract({"X-Request-Deadline": TEXT})

        state = current(RequestIdPropagator().extract({"X-Request-Id": "abc"}, context))

        assert (state.request_id, state.deadline.text) == ("abc", TEXT)

    def test_one_of_the_request_around_does_not_reach_the_next(self):
        with begin("outer"):
            Context.set_relative_deadline(1000)
            state = current(RequestIdPropagator().extract({"X-Request-Id": "inner"}, get_current()))

        assert (state.request_id, state.deadline) == ("inner", None)

    def test_a_request_served_with_it_has_it(self):
        with begin(context=DeadlinePropagator().extract({"X-Request-Deadline": TEXT})):
            assert Context.deadline == datetime(2030, 1, 31, 12, 0, 0, 250_000, tzinfo=timezone.utc)

        assert Context.deadline is None

    def test_it_goes_out_as_it_came_in(self):
        context = DeadlinePropagator().extract({"X-Request-Deadline": TEXT})

        assert sent(DeadlinePropagator(), context=context) == {"X-Request-Deadline": TEXT}

    def test_without_one_nothing_goes_out(self):
        with begin("abc"):
            assert sent(DeadlinePropagator()) == {}

    def test_one_that_the_caller_has_set_stays(self):
        Context.set_relative_deadline(1000)
        carrier = {"x-request-deadline": "mine"}

        DeadlinePropagator().inject(carrier)

        assert carrier == {"x-request-deadline": "mine"}

    def test_its_field_is_the_header(self):
        assert DeadlinePropagator().fields == {"X-Request-Deadline"}


def test_a_setting_that_both_read_is_warned_of_once(monkeypatch, caplog):
    monkeypatch.setenv("OTEL_PYTHON_HOPLINE_TRUST_INCOMING", "perhaps")

    RequestIdPropagator()
    DeadlinePropagator()

    (record,) = caplog.records
    assert "OTEL_PYTHON_HOPLINE_TRUST_INCOMING='perhaps'" in record.getMessage()


@pytest.mark.parametrize(("name", "kind"), [("request_id", RequestIdPropagator), ("deadline", DeadlinePropagator)])
def test_each_is_registered_under_its_name(name, kind):
    (entry_point,) = entry_points(group="opentelemetry_propagator", name=name)

    assert entry_point.load() is kind
