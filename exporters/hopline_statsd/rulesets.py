"""The rule sets that ship with the exporter: `default`, `phases` and `talisker`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hopline_statsd.rules import Condition, MetricRule, Naming, Rule, RuleSet

_HTTP: Mapping[str, Condition] = {"method": "*"}
_TASK: Mapping[str, Condition] = {"task": "*"}


def _celery_state(state: str) -> Rule:
    name = state.lower()
    return Rule(
        f"celery.{name}",
        Naming(f"celery.{name}", {"task": "{task}"}, plain=f"celery.{{task}}.{name}"),
        kinds=("consumer",),
        when={**_TASK, "celery.state": state},
        type="c",
    )


def _body(what: str, scale: float) -> MetricRule:
    return MetricRule(
        f"http.client.body.{what}",
        f"hopline.http.client.body.{what}",
        Naming(
            f"requests.body.{what}",
            {"host": "{host}", "method": "{method}", "status": "{status}"},
            plain=f"requests.{{host}}.{{method}}.body.{what}",
        ),
        scale=scale,
    )


def _phase(name: str) -> Rule:
    return Rule(
        f"http.client.{name}",
        Naming(f"requests.{name}", {"host": "{host}"}, plain=f"requests.{{host}}.{name}"),
        kinds=("client",),
        when=_HTTP,
        value=f"hopline.phase.{name}",
        unit="s",
    )


def _count(name: str, when: Mapping[str, Condition]) -> Rule:
    return Rule(
        f"http.client.{name}",
        Naming(f"requests.{name}", {"host": "{host}"}, plain=f"requests.{{host}}.{name}"),
        kinds=("client",),
        when={**_HTTP, **when},
        type="c",
    )


DEFAULT = RuleSet(
    spans=(
        Rule(
            "http.client",
            Naming("requests", {"host": "{host}", "method": "{method}", "status": "{status}"}),
            kinds=("client",),
            when={**_HTTP, "url.template": "!*"},
        ),
        Rule(
            "http.client.template",
            Naming(
                "requests",
                {"host": "{host}", "template": "{url.template}", "method": "{method}", "status": "{status}"},
            ),
            kinds=("client",),
            when={**_HTTP, "url.template": "*"},
        ),
        _count("connections", {"hopline.connection.reused": False}),
        _count("queued", {"hopline.phase.queue": "*"}),
        _phase("queue"),
        Rule(
            "http.server",
            Naming(
                "{hopline.server.interface|wsgi}",
                {"view": "{view}", "method": "{method}", "status": "{status}"},
            ),
            kinds=("server",),
            when=_HTTP,
        ),
        Rule(
            "celery.run",
            Naming("celery.run", {"task": "{task}"}, plain="celery.{task}.run"),
            kinds=("consumer",),
            when={**_TASK, "celery.state": ["!REVOKED", "!*"]},  # a task that is revoked does not run
        ),
        Rule(
            "celery.queue",
            Naming("celery.queue", {"task": "{task}"}, plain="celery.{task}.queue"),
            kinds=("consumer",),
            when=_TASK,
            value="hopline.phase.queue",
            unit="s",
        ),
        Rule(
            "celery.enqueue",
            Naming("celery.enqueue", {"task": "{task}"}, plain="celery.{task}.enqueue"),
            kinds=("producer",),
            when=_TASK,
        ),
        *(_celery_state(state) for state in ("SUCCESS", "FAILURE", "RETRY", "REVOKED")),
    ),
    metrics=(_body("duration", 1000.0), _body("size", 1.0)),
)
"""One timer for each HTTP request, made or served, and for each Celery task; counters beside them."""


PHASES = DEFAULT.extended(
    [
        *(_phase(name) for name in ("dns", "connect", "tls", "headers")),
        _count("dns_cache_hits", {"hopline.dns.cache_hit": True}),
    ]
)
"""The default rules, and a timer for each phase of an HTTP request that took place."""

_ANSWERED: Mapping[str, Condition] = {"http.response.status_code,http.status_code": "*"}
_SERVER_ERROR: Mapping[str, Condition] = {"http.response.status_code,http.status_code": "5??"}
_NO_ANSWER: Mapping[str, Condition] = {"http.response.status_code,http.status_code": "!*", "error.type": "*"}
_WSGI_TAGS = {"view": "{view}", "method": "{method}", "status": "{status}"}


def _talisker_errors(kind: str, when: Mapping[str, Condition]) -> Rule:
    tags = {"host": "{host}", "type": kind, "view": "{url.template}", "status": "{status}"}
    return Rule(
        f"requests.errors.{kind}",
        Naming("requests.errors", tags),
        kinds=("client",),
        when={**_HTTP, **when},
        type="c",
    )


def _talisker_tasks() -> Iterator[Rule]:
    named = {"task": "{task}"}
    ran: Mapping[str, Condition] = {**_TASK, "celery.state": ["!REVOKED", "!*"]}
    queue = {"value": "hopline.phase.queue", "unit": "s"}
    for name, kind, when, more in (
        ("count", "producer", _TASK, {"type": "c"}),
        ("latency.enqueue", "producer", _TASK, {}),
        ("latency.queue", "consumer", _TASK, queue),
        ("latency.run", "consumer", ran, {}),
        *(
            (name, "consumer", {**_TASK, "celery.state": state}, {"type": "c"})
            for name, state in (
                ("success", "SUCCESS"),
                ("failure", "FAILURE"),
                ("retry", "RETRY"),
                ("revoke", "REVOKED"),
            )
        ),
    ):
        yield Rule(f"celery.{name}", Naming(f"celery.{name}", named), kinds=(kind,), when=when, **more)


TALISKER = RuleSet(
    spans=(
        Rule(
            "requests.count",
            Naming("requests.count", {"host": "{host}", "view": "{url.template}"}),
            kinds=("client",),
            when=_HTTP,
            type="c",
        ),
        Rule(
            "requests.latency",
            Naming("requests.latency", {"host": "{host}", "view": "{url.template}", "status": "{status}"}),
            kinds=("client",),
            when={**_HTTP, **_ANSWERED},
        ),
        _talisker_errors("http", _SERVER_ERROR),
        _talisker_errors("connection", _NO_ANSWER),
        Rule("wsgi.requests", Naming("wsgi.requests", _WSGI_TAGS), kinds=("server",), when=_HTTP, type="c"),
        Rule("wsgi.latency", Naming("wsgi.latency", _WSGI_TAGS), kinds=("server",), when=_HTTP),
        Rule(
            "wsgi.errors",
            Naming("wsgi.errors", _WSGI_TAGS),
            kinds=("server",),
            when={**_HTTP, **_SERVER_ERROR},
            type="c",
        ),
        *_talisker_tasks(),
    ),
    metrics=DEFAULT.metrics,
)
"""The layout that services which came from Talisker have dashboards for."""

RULE_SETS: Mapping[str, RuleSet] = {"default": DEFAULT, "phases": PHASES, "talisker": TALISKER}
"""Every rule set that ships, by its name."""
