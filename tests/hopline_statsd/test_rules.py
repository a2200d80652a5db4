import logging

import pytest
from opentelemetry.trace import SpanKind

from hopline_statsd import StatsdConfig
from hopline_statsd.rules import MetricRule, Naming, Rule, RuleError, RuleSet
from hopline_statsd.rules_file import RulesFileError, load_rules, parse_rules
from hopline_statsd.rulesets import DEFAULT, PHASES, TALISKER
from tests.hopline_statsd.spans import CALL, end_span, lines_of

TEMPLATED = """
extends = "default"
without = ["http.client.queue", "http.client.queued", "http.client.template"]

# The template of the URL in the name.
[[span]]
id = "http.client"
kind = "client"
when = { method = "*", "url.template" = "*" }
name = "requests"
plain = "requests.{host}.{url.template}.{method}.{status}"
tags = { host = "{host}", template = "{url.template}" }

[[span]]
id = "sql"
kind = ["client", "internal"]
name = "sql.{db.operation.name,db.operation|none}"
type = "h"

[span.when]
"db.system.name" = ["postgresql", "mysql*"]

[[span]]
id = "rows"
name = "sql.rows"
type = "c"
value = "db.response.returned_rows"

[[metric]]
id = "queue"
match = "queue.*"
name = "queue.{queue.name}"
scale = 1000
"""


def test_a_file_adds_replaces_and_leaves_out_rules(make_processor, listener):
    processor = make_processor(rules=parse_rules(TEMPLATED))
    sql = {"db.system.name": "mysql8", "db.operation": "SELECT", "db.response.returned_rows": 7}

    end_span(processor, {**CALL, "url.template": "/users/{id}", "hopline.phase.queue": 1.0})
    end_span(processor, CALL)
    end_span(processor, sql, milliseconds=3)
    end_span(processor, {"db.system.name": "sqlite"})

    assert lines_of(processor, listener, 3) == [
        "my.prefix.requests.somehost-com.users-_id_.POST.200:12.500|ms",
        "my.prefix.sql.SELECT:3.000|ms",
        "my.prefix.sql.rows:7|c",
    ]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("[[span]]\nid = 'a'", 1, "name: it is missing"),
        ("[[span]]\nname = 'a'", 1, "id: it is missing"),
        ("[[span]]\nid = 'a'\nname = 'a.{'", 3, "a '{' without its other half at character 3"),
        ("[[span]]\nid = 'a'\nname = 'a}'", 3, "a '}' without its other half"),
        ("[[span]]\nid = 'a'\nname = 'a.{}'", 3, "{} names no attribute"),
        ("[[span]]\nid = 'a'\nname = 'a.{1x}'", 3, "{1x} names no attribute"),
        ("[[span]]\nid = 'a'\nname = 'a b'", 3, "'a b' holds a character that no name may hold"),
        ("[[span]]\nid = 'a'\nname = ''", 3, "the template is empty"),
        ("[[span]]\nid = 'a'\nname = 'a'\nplain = 'a:b'", 4, "holds a character"),
        ("[[span]]\nid = 'a'\nname = 'a'\ntags = { x = '{' }", 4, "without its other half"),
        ("[[span]]\nid = 'a'\nname = 'a'\n[span.tags]\nx = '{'", 4, "without its other half"),
        ("[[span]]\nid = 'a'\nname = 'a'\ntags = 3", 4, "it is no table of templates"),
        ("[[span]]\nid = 'a'\nname = 'a'\nkind = 'klient'", 4, "'klient' is none of internal, server"),
        ("[[span]]\nid = 'a'\nname = 'a'\nkind = 3", 4, "neither a string nor a list of strings"),
        ("[[span]]\nid = 'a'\nname = 'a'\ntype = 'x'", 4, "'x' is none of timer, ms"),
        ("[[span]]\nid = 'a'\nname = 'a'\ntype = 'g'", 4, "needs the attribute that holds its value"),
        ("[[span]]\nid = 'a'\nname = 'a'\nunit = 'h'", 4, "'h' is none of ns"),
        ("[[span]]\nid = 'a'\nname = 'a'\nwhen = 'x'", 4, "it is no table of conditions"),
        ("[[span]]\nid = 'a'\nname = 'a'\nwhen = { x = { y = 1 } }", 4, "'x' is compared with {'y': 1}"),
        ("[[span]]\nid = 'a'\nname = 'a'\ncolour = 'red'", 4, "colour: there is no such key"),
        ("[[span]]\nid = 3\nname = 'a'", 2, "3 is no string"),
        ("[[span]]\nid = 'a'\nname = 'a'\n\n[[span]]\nid = 'b'\nname = '{'", 7, "without its other half"),
        ("[[metric]]\nid = 'a'\nname = 'a'", 1, "match: it is missing"),
        ("[[metric]]\nid = 'a'\nmatch = 'a'\nname = 'a'\nscale = 'x'", 5, "'x' is no number"),
        ("[[span]]\nid = 'a'\nname = 'a..b'", 3, "there is nothing beside a dot"),
        ("[[span]]\nid = 'a'\nname = 'a'\nplain = '.{host}'", 4, "there is nothing beside a dot"),
        ("[[span]]\nid = 'a'\nname = 'a'\n[span.when]\nx = []", 4, "'x' is compared with nothing"),
        ("[[span]]\nid = 'a'\nname = 'a'\n[[span]]\nid = 'a'\nname = 'b'", 5, "there is a rule 'a' above already"),
        ("[['span']]\nid = 'a'\nname = '{'", 3, "without its other half"),
        ("span = [\n{ id = 'a', name = 'a' },\n{ id = 'b', name = '{' },\n]", 3, "without its other half"),
        ("extends = 'none'\nspan = [{ id = 'a' }]", 2, "name: it is missing"),
        ("[[metric]]\nid = 'a'\nmatch = 'a'\nname = 'a'\nscale = 0", 5, "0.0 is no factor"),
        ("[[metric]]\nid = 'a'\nmatch = 'a'\nname = 'a'\nscale = nan", 5, "nan is no factor"),
        ("extends = 'talisker2'", 1, "'talisker2' is none of default, phases, talisker, none"),
        ("\nwithout = ['x']", 2, "there is no rule x"),
        ("spam = 1", 1, "there is no such key"),
        ("span = 1", 1, "rules are written below [[span]]"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_line(text, line, reason):
    with pytest.raises(RulesFileError) as raised:
        parse_rules(text, "my.toml")

    assert str(raised.value).startswith(f"my.toml, line {line}: ")
    assert reason in str(raised.value)


def test_a_file_that_is_no_toml_is_said_with_its_line():
    with pytest.raises(RulesFileError, match=r"my.toml: .*line 2"):
        parse_rules("a = 1\nb = ?\n", "my.toml")


def test_a_wrong_file_in_the_environment_makes_one_warning_and_default_rules(tmp_path, caplog):
    path = tmp_path / "rules.toml"
    path.write_text("[[span]]\nid = 'a'\nname = '{'\n")

    with caplog.at_level(logging.WARNING):
        config = StatsdConfig.from_environment({"OTEL_EXPORTER_STATSD_RULES": str(path)})

    (record,) = caplog.records
    assert "OTEL_EXPORTER_STATSD_RULES" in record.getMessage()
    assert "line 3" in record.getMessage()
    assert config.rules is DEFAULT


def test_a_file_in_the_environment_is_read(tmp_path):
    path = tmp_path / "rules.toml"
    path.write_text("extends = 'none'\n[[span]]\nid = 'a'\nname = 'a'\n")

    config = StatsdConfig.from_environment({"OTEL_EXPORTER_STATSD_RULES": str(path)})

    assert config.rules == RuleSet(spans=(Rule("a", Naming("a")),))


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "rules.toml"
    path.write_text("extends = 'none'\n", encoding="utf-8-sig")

    assert load_rules(str(path)) == RuleSet()


@pytest.mark.parametrize("attribute", ["k8s.pod.label.app.kubernetes.io/name", "_private", "größe", "a:b"])
def test_any_attribute_may_stand_in_a_template(make_processor, listener, attribute):
    processor = make_processor(rules=RuleSet((Rule("it", Naming(f"it.{{{attribute}}}"), type="c"),)))

    end_span(processor, {attribute: "here"})

    assert lines_of(processor, listener, 1) == ["my.prefix.it.here:1|c"]


def test_rule_sets_are_found_by_name():
    assert load_rules("default") is DEFAULT
    assert load_rules("phases") is PHASES
    assert load_rules("talisker") is TALISKER


def test_each_phase_of_a_call_that_took_place_may_be_timed(make_processor, listener):
    processor = make_processor(rules=PHASES)
    phases = {"hopline.phase.dns": 0.002, "hopline.phase.connect": 0.003, "hopline.phase.headers": 0.01}

    end_span(processor, {**CALL, **phases, "hopline.dns.cache_hit": False})
    end_span(processor, {**CALL, "hopline.phase.tls": 0.005, "hopline.dns.cache_hit": True})

    assert lines_of(processor, listener, 7) == [
        "my.prefix.requests.somehost-com.POST.200:12.500|ms",
        "my.prefix.requests.somehost-com.dns:2.000|ms",
        "my.prefix.requests.somehost-com.connect:3.000|ms",
        "my.prefix.requests.somehost-com.headers:10.000|ms",
        "my.prefix.requests.somehost-com.POST.200:12.500|ms",
        "my.prefix.requests.somehost-com.tls:5.000|ms",
        "my.prefix.requests.somehost-com.dns_cache_hits:1|c",
    ]


def test_rules_can_be_added_in_python(make_processor, listener):
    rule = Rule(
        "cache",
        Naming("cache.{cache.result|miss}", {"region": "{resource.cloud.region|nowhere}"}),
        when={"cache.system": "*"},
        type="c",
    )
    processor = make_processor(rules=DEFAULT.extended([rule]))

    end_span(processor, {"cache.system": "redis", "cache.result": True}, kind=SpanKind.INTERNAL)

    assert lines_of(processor, listener, 1) == ["my.prefix.cache.true.nowhere:1|c"]


def test_a_gauge_and_a_set_take_their_value_from_an_attribute(make_processor, listener):
    rules = RuleSet(
        spans=(
            Rule("depth", Naming("depth"), type="g", value="queue.depth"),
            Rule("user", Naming("users"), type="s", value="enduser.id"),
        )
    )
    processor = make_processor(rules=rules)

    end_span(processor, {"queue.depth": -2, "enduser.id": "a b|c"})

    assert lines_of(processor, listener, 3) == [
        "my.prefix.depth:0|g",
        "my.prefix.depth:-2|g",
        "my.prefix.users:a_b_c|s",
    ]


@pytest.mark.parametrize(
    ("when", "attributes", "holds"),
    [
        ({"a": "*"}, {"a": "x"}, True),
        ({"a": "*"}, {}, False),
        ({"a": "!*"}, {}, True),
        ({"a": "!*"}, {"a": "x"}, False),
        ({"a": "x*"}, {"a": "xy"}, True),
        ({"a": "!x*"}, {"a": "xy"}, False),
        ({"a": "!x*"}, {"a": "y"}, True),
        ({"a": ["x", "y"]}, {"a": "y"}, True),
        ({"a": ["x", "y"]}, {"a": "z"}, False),
        ({"a": True}, {"a": True}, True),
        ({"a": True}, {"a": False}, False),
        ({"a": True}, {}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": 200}, {"a": 200}, True),
        ({"a": "20?"}, {"a": 200}, True),
        ({"b,a": "x"}, {"a": "x"}, True),
        ({"span.name": "sp*"}, {}, True),
        ({"span.kind": "client"}, {}, True),
        ({"span.status": "unset"}, {}, True),
        ({"span.scope": "tests"}, {}, True),
        ({"resource.service.name": "shop"}, {}, True),
        ({"a": "x-y"}, {"a": ["x", "y"]}, True),
    ],
)
def test_conditions_hold_or_not(make_processor, listener, when, attributes, holds):
    rules = RuleSet(spans=(Rule("it", Naming("it"), when=when, type="c"), Rule("all", Naming("all"), type="c")))
    processor = make_processor(rules=rules)

    end_span(processor, attributes)

    expected = ["my.prefix.it:1|c"] if holds else []
    assert lines_of(processor, listener, 1 + holds) == [*expected, "my.prefix.all:1|c"]


def test_a_name_may_tell_spans_apart(make_processor, listener):
    processor = make_processor(rules=RuleSet(spans=(Rule("all", Naming("{span.kind}.{span.name}"), type="c"),)))

    end_span(processor, {}, kind=SpanKind.INTERNAL)
    end_span(processor, {}, kind=SpanKind.SERVER)

    assert lines_of(processor, listener, 2) == ["my.prefix.internal.span:1|c", "my.prefix.server.span:1|c"]


@pytest.mark.parametrize(
    ("attributes", "lines"),
    [
        (
            {**CALL, "url.template": "/pay"},
            ["requests.count.somehost-com.pay:1|c", "requests.latency.somehost-com.pay.200:12.500|ms"],
        ),
        (
            {**CALL, "http.response.status_code": 503},
            [
                "requests.count.somehost-com.unknown:1|c",
                "requests.latency.somehost-com.unknown.503:12.500|ms",
                "requests.errors.somehost-com.http.unknown.503:1|c",
            ],
        ),
        (
            {"http.request.method": "GET", "server.address": "a", "error.type": "socket.gaierror"},
            ["requests.count.a.unknown:1|c", "requests.errors.a.connection.unknown.gaierror:1|c"],
        ),
    ],
)
def test_the_layout_of_talisker_is_a_rule_set(make_processor, listener, attributes, lines):
    processor = make_processor(rules=TALISKER)

    end_span(processor, attributes)

    assert lines_of(processor, listener, len(lines)) == [f"my.prefix.{line}" for line in lines]


def test_the_layout_of_talisker_has_views(make_processor, listener):
    processor = make_processor(rules=TALISKER)

    end_span(
        processor,
        {"http.request.method": "GET", "http.route": "/x", "http.response.status_code": 500},
        kind=SpanKind.SERVER,
    )

    assert lines_of(processor, listener, 3) == [
        "my.prefix.wsgi.requests.x.GET.500:1|c",
        "my.prefix.wsgi.latency.x.GET.500:12.500|ms",
        "my.prefix.wsgi.errors.x.GET.500:1|c",
    ]


@pytest.mark.parametrize(
    ("kind", "attributes", "lines"),
    [
        (SpanKind.PRODUCER, {}, ["celery.count.shop-ship:1|c", "celery.latency.enqueue.shop-ship:12.500|ms"]),
        (
            SpanKind.CONSUMER,
            {"celery.state": "SUCCESS", "hopline.phase.queue": 0.25},
            [
                "celery.latency.queue.shop-ship:250.000|ms",
                "celery.latency.run.shop-ship:12.500|ms",
                "celery.success.shop-ship:1|c",
            ],
        ),
        (SpanKind.CONSUMER, {"celery.state": "REVOKED"}, ["celery.revoke.shop-ship:1|c"]),
    ],
)
def test_the_layout_of_talisker_has_tasks(make_processor, listener, kind, attributes, lines):
    processor = make_processor(rules=TALISKER)

    end_span(processor, {"celery.task_name": "shop.ship", **attributes}, kind=kind)

    assert lines_of(processor, listener, len(lines)) == [f"my.prefix.{line}" for line in lines]


def test_a_rule_that_cannot_be_followed_is_not_made():
    with pytest.raises(RuleError, match="name"):
        Rule("bad", Naming("{"))
    with pytest.raises(RuleError, match="plain"):
        MetricRule("bad", "*", Naming("a", plain="{"))
    with pytest.raises(RuleError, match="there is no rule nowhere"):
        DEFAULT.extended(without=["nowhere"])
