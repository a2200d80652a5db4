import pytest
from opentelemetry.trace import SpanKind

from hopline_statsd.rules import Naming, Rule, RuleSet
from tests.hopline_statsd.spans import CALL, end_span, lines_of


def test_a_call_makes_exactly_the_line_that_is_promised(make_processor, listener):
    processor = make_processor()

    end_span(processor, CALL)

    assert lines_of(processor, listener, 1) == ["my.prefix.requests.somehost-com.POST.200:12.500|ms"]


def test_without_a_prefix_the_service_name_is_one_segment(make_processor, listener):
    processor = make_processor(prefix=None)

    end_span(processor, CALL, service="shop.example/eu west")

    assert lines_of(processor, listener, 1) == ["shop-example-eu_west.requests.somehost-com.POST.200:12.500|ms"]


def test_spans_of_two_services_in_one_process_keep_their_prefixes(make_processor, listener):
    processor = make_processor(prefix=None)

    for service in ("front", "back", "front"):
        end_span(processor, CALL, service=service)

    assert [line.partition(".")[0] for line in lines_of(processor, listener, 3)] == ["front", "back", "front"]


@pytest.mark.parametrize(
    ("attributes", "name"),
    [
        (
            {"http.method": "GET", "net.peer.name": "old.example", "http.status_code": 404},
            "old-example.GET.404",
        ),
        ({"http.method": "GET", "http.url": "http://Old.Example:80/x"}, "old-example.GET.unknown"),
        ({"http.request.method": "GET", "url.full": "http://[::1]:80/"}, "--1.GET.unknown"),
        ({"http.request.method": "GET", "url.full": "http://[broken"}, "unknown.GET.unknown"),
        ({**CALL, "peer.service": "payments"}, "payments.POST.200"),
        ({**CALL, "server.address": "SomeHost.COM"}, "somehost-com.POST.200"),
        (
            {
                "http.request.method": "GET",
                "server.address": "a.b",
                "error.type": "requests.exceptions.ConnectTimeout",
            },
            "a-b.GET.ConnectTimeout",
        ),
        (
            {"http.request.method": "GET", "server.address": "a.b", "hopline.outcome": "cancelled"},
            "a-b.GET.cancelled",
        ),
        (
            {
                "http.request.method": "GET",
                "server.address": "a.b",
                "http.response.status_code": 503,
                "error.type": "503",
            },
            "a-b.GET.503",
        ),
        ({"http.request.method": "GET", "server.address": ""}, "unknown.GET.unknown"),
        ({"http.request.method": "_OTHER", "server.address": "::1"}, "--1._OTHER.unknown"),
    ],
)
def test_host_method_and_status_come_from_stable_or_old_attributes(make_processor, listener, attributes, name):
    processor = make_processor()

    end_span(processor, attributes)

    assert lines_of(processor, listener, 1) == [f"my.prefix.requests.{name}:12.500|ms"]


def test_hosts_are_told_apart_where_only_the_url_names_them(make_processor, listener):
    processor = make_processor()

    for host in ("one", "two", "one"):
        end_span(processor, {"http.method": "GET", "http.url": f"http://{host}.example/{host}"})

    names = [line.split(".")[3] for line in lines_of(processor, listener, 3)]
    assert names == ["one-example", "two-example", "one-example"]


def test_hosts_are_told_apart_where_the_address_beside_the_url_is_empty(make_processor, listener):
    processor = make_processor()

    for host in ("one", "two", "one"):
        attributes = {"http.method": "GET", "server.address": "", "url.full": f"http://{host}.example/{host}"}
        end_span(processor, attributes)

    names = [line.split(".")[3] for line in lines_of(processor, listener, 3)]
    assert names == ["one-example", "two-example", "one-example"]


def test_hosts_are_told_apart_where_the_url_is_asked_before_another_attribute(make_processor, listener):
    processor = make_processor(rules=RuleSet((Rule("r", Naming("to.{host,peer}")),)))

    for host in ("one", "two", "one"):
        end_span(processor, {"url.full": f"http://{host}/", "peer": "somebody"})

    assert [line.split(":")[0] for line in lines_of(processor, listener, 3)] == [
        "my.prefix.to.one",
        "my.prefix.to.two",
        "my.prefix.to.one",
    ]


@pytest.mark.parametrize("first", ["text", 1, True])
def test_equal_values_of_several_types_are_told_apart_whatever_came_first(make_processor, listener, first):
    processor = make_processor(rules=RuleSet((Rule("r", Naming("v.{v}"), type="c"),)))
    values = [1, True, 1.0, (1, 0), (True, False), "text"]

    for value in (first, *values, *values):
        end_span(processor, {"v": value})

    written = [line.split(":")[0].rpartition(".")[2] for line in lines_of(processor, listener, 13)]
    assert written[1:] == ["1", "true", "1-0", "1-0", "true-false", "text"] * 2


def test_a_condition_that_is_true_does_not_hold_for_one(make_processor, listener):
    processor = make_processor(rules=RuleSet((Rule("r", Naming("v"), when={"v": True}, type="c"),)))

    for value in (True, 1, True, 1.0):
        end_span(processor, {"v": value})

    assert lines_of(processor, listener, 2) == ["my.prefix.v:1|c", "my.prefix.v:1|c"]


def test_several_attributes_may_be_numbers(make_processor, listener):
    processor = make_processor(rules=RuleSet((Rule("r", Naming("v.{v}.{w}"), type="c"),)))
    pairs = [(1, 0), (True, False), (1, False), (True, 0)]

    for v, w in (*pairs, *pairs):
        end_span(processor, {"v": v, "w": w})

    written = [line.split(":")[0].removeprefix("my.prefix.v.") for line in lines_of(processor, listener, 8)]
    assert written == ["1.0", "true.false", "1.false", "true.0"] * 2


@pytest.mark.parametrize("status", [200, 200.0, "200"])
def test_a_status_is_one_whatever_its_type(make_processor, listener, status):
    processor = make_processor()

    end_span(processor, {**CALL, "http.response.status_code": status})

    assert lines_of(processor, listener, 1) == ["my.prefix.requests.somehost-com.POST.200:12.500|ms"]


def test_a_new_connection_is_counted(make_processor, listener):
    processor = make_processor()

    end_span(processor, {**CALL, "hopline.connection.reused": False})
    end_span(processor, {**CALL, "hopline.connection.reused": True})

    assert lines_of(processor, listener, 3) == [
        "my.prefix.requests.somehost-com.POST.200:12.500|ms",
        "my.prefix.requests.somehost-com.connections:1|c",
        "my.prefix.requests.somehost-com.POST.200:12.500|ms",
    ]


def test_waiting_for_a_pooled_connection_is_counted_and_timed_in_milliseconds(make_processor, listener):
    processor = make_processor()

    end_span(processor, {**CALL, "hopline.phase.queue": 0.25})

    assert lines_of(processor, listener, 3) == [
        "my.prefix.requests.somehost-com.POST.200:12.500|ms",
        "my.prefix.requests.somehost-com.queued:1|c",
        "my.prefix.requests.somehost-com.queue:250.000|ms",
    ]


@pytest.mark.parametrize(
    ("attributes", "name"),
    [
        ({"http.route": "/users/{id}"}, "wsgi.users-_id_.GET.200"),
        ({"http.route": "/"}, "wsgi.root.GET.200"),
        ({"code.function.name": "shop.views.index"}, "wsgi.shop-views-index.GET.200"),
        ({"code.function": "index"}, "wsgi.index.GET.200"),
        ({}, "wsgi.unknown.GET.200"),
        ({"hopline.server.interface": "asgi", "http.route": "/x"}, "asgi.x.GET.200"),
    ],
)
def test_a_served_request_is_named_by_its_view(make_processor, listener, attributes, name):
    processor = make_processor()
    common = {"http.request.method": "GET", "http.response.status_code": 200}

    end_span(processor, {**common, **attributes}, kind=SpanKind.SERVER)

    assert lines_of(processor, listener, 1) == [f"my.prefix.{name}:12.500|ms"]


@pytest.mark.parametrize("state", ["SUCCESS", "FAILURE", "RETRY"])
def test_a_celery_task_is_timed_and_its_outcome_counted(make_processor, listener, state):
    processor = make_processor()

    end_span(
        processor,
        {
            "celery.task_name": "shop.tasks.pay",
            "celery.action": "run",
            "celery.state": state,
            "hopline.phase.queue": 1.5,
        },
        kind=SpanKind.CONSUMER,
    )

    assert lines_of(processor, listener, 3) == [
        "my.prefix.celery.shop-tasks-pay.run:12.500|ms",
        "my.prefix.celery.shop-tasks-pay.queue:1500.000|ms",
        f"my.prefix.celery.shop-tasks-pay.{state.lower()}:1|c",
    ]


def test_sending_a_celery_task_is_timed(make_processor, listener):
    processor = make_processor()

    end_span(
        processor,
        {"celery.task_name": "shop.tasks.pay", "celery.action": "apply_async"},
        kind=SpanKind.PRODUCER,
    )

    assert lines_of(processor, listener, 1) == ["my.prefix.celery.shop-tasks-pay.enqueue:12.500|ms"]


@pytest.mark.parametrize("kind", list(SpanKind))
def test_a_span_that_no_rule_is_for_makes_no_line(make_processor, listener, kind):
    processor = make_processor()

    end_span(processor, {"db.system.name": "postgresql"}, kind=kind)
    end_span(processor, CALL)

    assert len(lines_of(processor, listener, 1)) == 1


def test_a_call_that_ended_before_it_began_counts_as_one_of_no_length(make_processor, listener):
    processor = make_processor()

    end_span(processor, CALL, milliseconds=-5)

    assert lines_of(processor, listener, 1) == ["my.prefix.requests.somehost-com.POST.200:0.000|ms"]


def test_an_impossibly_long_call_is_dropped_and_counted(make_processor):
    processor = make_processor()

    end_span(processor, CALL, milliseconds=1e16)

    assert processor.stats().dropped == {"invalid": 1}


@pytest.mark.parametrize("waited", [float("nan"), float("inf"), -1.0, 10**400, "long", True])
def test_a_phase_that_is_no_duration_is_dropped_and_counted_alone(make_processor, listener, waited):
    processor = make_processor()

    end_span(processor, {**CALL, "hopline.phase.queue": waited})

    assert len(lines_of(processor, listener, 2)) == 2
    assert processor.stats().dropped == {"invalid": 1}


def test_a_celery_task_that_is_revoked_is_counted_and_not_timed(make_processor, listener):
    processor = make_processor()

    end_span(processor, {"celery.task_name": "pay", "celery.state": "REVOKED"}, kind=SpanKind.CONSUMER)

    assert lines_of(processor, listener, 1) == ["my.prefix.celery.pay.revoked:1|c"]


def test_a_call_whose_url_has_a_template_is_named_by_it_too(make_processor, listener):
    processor = make_processor()

    end_span(processor, {**CALL, "url.template": "/users/{id}"})

    assert lines_of(processor, listener, 1) == ["my.prefix.requests.somehost-com.users-_id_.POST.200:12.500|ms"]
