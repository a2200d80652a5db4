import logging
import threading

import pytest

from hopline_statsd.rules import Naming, Rule, RuleSet
from tests.hopline_statsd.spans import CALL, end_span, lines_of


def flushed_names(processor, listener, count):
    assert processor.force_flush()
    assert listener.wait_for(count)
    return {line.partition(":")[0] for line in listener.lines}


def test_a_process_makes_no_more_names_than_allowed_and_warns_once(make_processor, listener, caplog):
    processor = make_processor(max_names=100)

    for number in range(500):
        end_span(processor, {**CALL, "server.address": f"host{number}.example"})

    names = flushed_names(processor, listener, 500)
    assert len(names) <= 100
    assert "my.prefix.requests.host0-example.POST.200" in names
    assert "my.prefix.requests.other.POST.200" in names
    (warning,) = caplog.records
    assert "OTEL_EXPORTER_STATSD_MAX_NAMES" in warning.getMessage()
    assert "{host} of rule 'http.client'" in warning.getMessage()


def test_a_logging_handler_may_wait_for_spans_of_other_threads(make_processor):
    processor = make_processor(max_names=10)
    waited = []

    class Sending(logging.Handler):
        def emit(self, record):
            # Of another service, for which the name is looked up anew.
            span = {**CALL, "server.address": "h0"}
            thread = threading.Thread(target=end_span, args=(processor, span), kwargs={"service": "logs"}, daemon=True)
            thread.start()
            thread.join(5)
            waited.append(thread.is_alive())

    handler = Sending()
    logging.getLogger("hopline_statsd").addHandler(handler)
    try:
        for number in range(20):
            end_span(processor, {**CALL, "server.address": f"h{number}"})
    finally:
        logging.getLogger("hopline_statsd").removeHandler(handler)

    assert waited
    assert not any(waited)


@pytest.mark.parametrize("limit", [1, 2, 5, 10])
def test_a_limit_may_be_small(make_processor, listener, limit):
    processor = make_processor(max_names=limit)

    for number in range(50):
        end_span(processor, {**CALL, "server.address": f"h{number}"})

    assert len(flushed_names(processor, listener, 50)) == limit


def test_names_that_were_made_before_stay_when_the_budget_is_used_up(make_processor, listener):
    processor = make_processor(max_names=20)
    for number in range(100):
        end_span(processor, {**CALL, "server.address": f"host{number}"})

    end_span(processor, {**CALL, "server.address": "host1"})

    flushed_names(processor, listener, 101)
    assert listener.lines[-1] == "my.prefix.requests.host1.POST.200:12.500|ms"


def test_the_field_that_varies_most_is_merged(make_processor, listener):
    processor = make_processor(max_names=100)

    for number in range(300):
        end_span(processor, {**CALL, "http.response.status_code": number, "server.address": f"h{number % 2}"})

    names = flushed_names(processor, listener, 300)
    assert {"my.prefix.requests.h0.POST.other", "my.prefix.requests.h1.POST.other"} <= names


def test_when_every_field_varies_all_of_them_are_merged(make_processor, listener):
    processor = make_processor(max_names=20)

    for number in range(400):
        end_span(
            processor,
            {
                "http.request.method": f"M{number}",
                "server.address": f"h{number}",
                "http.response.status_code": number,
            },
        )

    names = flushed_names(processor, listener, 400)
    assert len(names) <= 20
    assert "my.prefix.requests.other.other.other" in names


def test_tags_count_as_names(make_processor, listener):
    processor = make_processor(max_names=10, dialect="dogstatsd")

    for number in range(50):
        end_span(processor, {**CALL, "server.address": f"h{number}"})

    flushed_names(processor, listener, 50)
    assert len({line.partition("#")[2] for line in listener.lines}) <= 10
    assert any("host:other" in line for line in listener.lines)


def test_a_name_without_fields_needs_no_budget(make_processor, listener):
    rules = RuleSet(spans=(*(Rule(f"r{number}", Naming(f"r{number}"), type="c") for number in range(15)),))
    processor = make_processor(max_names=10, rules=rules)

    end_span(processor, {})

    assert len(flushed_names(processor, listener, 15)) == 15


@pytest.mark.parametrize("varying", ["server.address", "another"])
def test_caches_stay_bounded_whatever_varies(make_processor, varying, monkeypatch):
    monkeypatch.setattr("hopline_statsd.span_lines._MAX_PLANS", 200)
    monkeypatch.setattr("hopline_statsd.span_lines._MAX_SHAPES", 20)
    processor = make_processor(max_names=10)

    for number in range(1000):
        key = varying if varying == "server.address" else f"attribute{number}"
        end_span(processor, {**CALL, key: f"v{number}"})

    names = processor._current[1]
    plans = sum(len(shape.plans) for shapes in names._shapes.values() for shape in shapes.values())
    assert 0 < plans <= 200
    assert all(len(shapes) <= 20 for shapes in names._shapes.values())


def test_waits_of_different_lengths_are_named_once(make_processor):
    processor = make_processor()

    for wait in range(1, 51):
        end_span(processor, {**CALL, "hopline.phase.queue": wait / 1000})

    assert processor._current[1]._cached_plans == 1


def test_whether_an_attribute_is_empty_is_seen_each_time(make_processor, listener):
    rules = RuleSet((Rule("coupon", Naming("coupon"), when={"coupon": "*"}, type="c"),))
    processor = make_processor(rules=rules)

    for coupon in ("", "summer", "", "winter"):
        end_span(processor, {"coupon": coupon})

    assert len(lines_of(processor, listener, 2)) == 2
