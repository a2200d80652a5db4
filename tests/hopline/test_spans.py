"""Spans whose attributes need no check: a processor gets what the SDK's own way would have given it."""

from __future__ import annotations

import contextlib
import sys
from itertools import count

import opentelemetry.attributes
import opentelemetry.sdk.version
import pytest
from opentelemetry import trace as api
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanLimits, SpanProcessor, Tracer, TracerProvider, _Span
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Decision, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    ProxyTracer,
    SpanContext,
    SpanKind,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from wrapt import FunctionWrapper

from hopline.http import sdk_releases
from hopline.http.spans import spans_of
from tests.telemetry import Telemetry, known_release, points_of

ATTRIBUTES = {"method": "GET", "port": 80, "share": 0.5, "cached": True}
MORE = {"status": 200, "version": "1.1"}
ELSEWHERE = SpanContext(7, 8, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("vendor", "x")]))
HERE = SpanContext(7, 9, is_remote=False, trace_flags=TraceFlags(0))
RANDOM = SpanContext(7, 10, is_remote=True, trace_flags=TraceFlags(3))


class Numbers(IdGenerator):
    """Ids that are the same each time."""

    def __init__(self, *, is_random=False):
        self._ids = count(1)
        self._is_random = is_random

    def generate_span_id(self):
        return next(self._ids)

    def generate_trace_id(self):
        return next(self._ids)

    def is_trace_id_random(self):
        return self._is_random


class Adding(Sampler):
    """Adds attributes of its own, and has a state of its own."""

    def __init__(self, decision=Decision.RECORD_AND_SAMPLE, more=()):
        self._decision = decision
        self._more = dict(more)

    def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, links=None, trace_state=None):
        self.asked = (parent_context, trace_id, name, kind, attributes, tuple(links or ()), trace_state)
        return SamplingResult(self._decision, attributes | self._more, TraceState([("sampled", "yes")]))

    def get_description(self):
        return "Adding"


class Redacting(BoundedAttributes):
    """Hides the value of each attribute."""

    def __setitem__(self, name, value):
        super().__setitem__(name, "hidden")

    def _set_items(self, attributes):
        super()._set_items(dict.fromkeys(attributes, "hidden"))


class Seen(SpanProcessor):
    """What a processor sees of a span when it starts and when it ends."""

    def __init__(self):
        self.spans = []

    def on_start(self, span, parent_context=None):
        self.spans.append((told(span), parent_context))

    def on_end(self, span):
        self.spans.append(told(span))


def told(span):
    """All that a span of the SDK's has, but for its locks and what it belongs to."""
    kept = {**vars(span)}
    for name in ("_lock", "_record_end_metrics"):
        kept.pop(name, None)
    bounded = vars(kept.pop("_attributes"))
    kept["attributes"] = {name: value for name, value in bounded.items() if name != "_lock"}
    kept["attributes"]["_dict"] = list(bounded["_dict"].items())  # in their order
    kept["events"], kept["links"] = list(kept.pop("_events")), [vars(link) for link in kept.pop("_links")]
    status = kept.pop("_status")
    kept["status"] = status.status_code, status.description
    return {name: str(value) if name == "_instrumentation_info" else value for name, value in kept.items()}


def both(attributes=ATTRIBUTES, more=MORE, parent=None, links=(), processors=(), **settings):
    """What a processor sees of one span that is made in our way, and of the same span made in the SDK's."""
    context = Context() if parent is None else set_span_in_context(NonRecordingSpan(parent), Context())
    seen = []
    for is_ours in (True, False):
        made = {name: make() if callable(make) else make for name, make in settings.items()}
        provider = TracerProvider(**{"id_generator": Numbers(), "shutdown_on_exit": False, **made})
        for processor in (*processors, Seen()):
            provider.add_span_processor(processor)
        tracer = provider.get_tracer("test", "1", schema_url="https://example.com/1")
        if is_ours:
            spans = spans_of(tracer, SpanKind.CLIENT)
            span = spans.start("GET", context, attributes, 5, links)
            spans.add(span, more)
        else:
            span = tracer.start_span("GET", context, SpanKind.CLIENT, attributes, links, 5)
            span.set_attributes(more)
        span.end(6)
        seen.append((span.get_span_context(), [_without(tracer, one) for one in processor.spans]))
    return seen


def _without(tracer, one):
    """What a processor has seen, without what is the tracer's."""
    told, *context = one if isinstance(one, tuple) else (one,)
    known = {
        "_resource": tracer.resource,
        "_sampler": tracer.sampler,
        "_span_processor": tracer.span_processor,
        "_limits": tracer._span_limits,
    }
    assert all(told.pop(name, mine) is mine for name, mine in known.items())
    return told, context


@pytest.fixture
def cleaned(monkeypatch):
    """What the SDK cleans, in the course of a test."""
    cleaned = []

    def count(clean):
        return lambda *told: cleaned.append(told) or clean(*told)

    for name, clean in [each for each in vars(opentelemetry.attributes).items() if each[0].startswith("_clean")]:
        monkeypatch.setattr(opentelemetry.attributes, name, count(clean))
    return cleaned


@pytest.mark.parametrize("parent", [None, ELSEWHERE, HERE, RANDOM], ids=["none", "remote", "local", "random"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"sampler": ALWAYS_ON},
        {"sampler": ALWAYS_OFF},
        {"sampler": ParentBased(ALWAYS_ON)},
        {"sampler": Adding(more={"sampled.by": "us"})},
        {"sampler": Adding(Decision.RECORD_ONLY)},
        {"sampler": Adding(Decision.DROP)},
        {"id_generator": lambda: Numbers(is_random=True)},
    ],
    ids=["default", "on", "off", "by parent", "adding", "recorded only", "dropped", "random"],
)
def test_a_span_is_what_the_sdk_would_have_made(settings, parent):
    ours, theirs = both(parent=parent, **settings)

    assert ours == theirs


@pytest.mark.parametrize("way", ["patched", "not read", "parent of another type"])
def test_what_the_sdk_makes_itself_is_the_same(monkeypatch, way):
    parent, own = ELSEWHERE, Tracer.start_span
    if way == "patched":
        monkeypatch.setattr(Tracer, "start_span", FunctionWrapper(own, lambda own, _, told, named: own(*told, **named)))
    elif way == "not read":
        monkeypatch.setattr(opentelemetry.sdk.version, "__version__", "unknown")
    else:
        parent = type("Mine", (SpanContext,), {})(7, 8, True, TraceFlags(1))

    ours, theirs = both(parent=parent, links=(Link(HERE),))

    assert ours == theirs


def test_an_attribute_that_is_set_again_is_the_last_one():
    ours, theirs = both(more={"port": 443, "status": 200, "method": "POST"})

    assert ours == theirs


def test_attributes_that_a_processor_keeps_in_its_own_way_stay_there():
    class Replacing(SpanProcessor):
        def on_start(self, span, parent_context=None):
            span._attributes = Redacting(attributes=span.attributes, immutable=False)

    ours, theirs = both(processors=(Replacing(),))

    assert ours == theirs


@pytest.mark.parametrize(
    "value", ["", None, (1, 2), ["a", "b"], b"bytes", object, {"a": 1}, [1, "mixed"]], ids=lambda value: str(value)[:9]
)
@pytest.mark.parametrize("when", ["attributes", "more"])
def test_a_value_is_what_the_sdk_would_have_made_of_it(when, value):
    ours, theirs = both(**{when: {"odd": value, "after": 1}})

    assert ours == theirs


@pytest.mark.parametrize("name", ["", 17, None, b"name"])
def test_a_name_that_a_sampler_adds_is_what_the_sdk_would_have_made_of_it(name):
    ours, theirs = both(sampler=Adding(more={name: "value"}))

    assert ours == theirs


@pytest.mark.parametrize(
    "limits",
    [
        SpanLimits(max_span_attributes=0),
        SpanLimits(max_span_attributes=3),
        SpanLimits(max_span_attributes=5),
        SpanLimits(max_span_attributes=6),
        SpanLimits(max_span_attributes=SpanLimits.UNSET),
        SpanLimits(max_span_attribute_length=2),
        SpanLimits(max_attribute_length=2),
        SpanLimits(max_links=0),
    ],
    ids=["none", "fewer", "one too few", "just enough", "no limit", "short", "all short", "no links"],
)
def test_the_providers_limits_hold(limits):
    ours, theirs = both(span_limits=limits, links=(Link(HERE),))

    assert ours == theirs


def test_a_span_has_the_links_that_it_is_given():
    ours, theirs = both(links=(Link(HERE), Link(ELSEWHERE, {"why": "resend"})))

    assert ours == theirs


def test_a_sampler_is_asked_what_the_sdk_asks_it():
    sampler, context = Adding(), set_span_in_context(NonRecordingSpan(HERE), Context())
    tracer = TracerProvider(sampler, shutdown_on_exit=False).get_tracer("test")

    spans_of(tracer, SpanKind.SERVER).start("GET", context, ATTRIBUTES, 5, (link := Link(ELSEWHERE),))
    asked = sampler.asked
    tracer.start_span("GET", context, SpanKind.SERVER, ATTRIBUTES, (link,), 5)

    assert asked == sampler.asked


@pytest.mark.skipif(not hasattr(Tracer, "_is_enabled"), reason="tracers can be disabled from 1.40 on")
def test_a_disabled_tracer_starts_no_span(telemetry, monkeypatch):
    spans = spans_of(telemetry.tracer, SpanKind.CLIENT)
    monkeypatch.setattr(Tracer, "_is_enabled", lambda self: False)

    spans_of(telemetry.tracer, SpanKind.CLIENT).start("GET", Context(), ATTRIBUTES, 5).end()
    spans.start("GET", Context(), ATTRIBUTES, 5).end()

    assert telemetry.spans == []


@pytest.mark.skipif(not hasattr(Tracer, "_is_enabled"), reason="the SDK counts its spans from 1.40 on")
def test_the_sdk_counts_these_spans_as_its_own(monkeypatch):
    monkeypatch.setenv("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "true")
    counted = []
    for is_ours in (True, False):
        reader = InMemoryMetricReader()
        meters = MeterProvider([reader], shutdown_on_exit=False)
        for sampler in (ALWAYS_ON, ALWAYS_OFF):
            tracer = Telemetry(meter_provider=meters, sampler=sampler).tracer
            start = spans_of(tracer, SpanKind.CLIENT).start if is_ours else tracer.start_span
            for parent in (None, ELSEWHERE, HERE):
                context = Context() if parent is None else set_span_in_context(NonRecordingSpan(parent), Context())
                start("GET", context, *((ATTRIBUTES, 5) if is_ours else ())).end()
            start("GET", Context(), *((ATTRIBUTES, 5) if is_ours else ()))
        counted.append(
            [
                sorted((sorted(point.attributes.items()), point.value) for point in points_of(reader, name))
                for name in ("otel.sdk.span.started", "otel.sdk.span.live")
            ]
        )

    assert counted[0] == counted[1] != [[], []]


def test_a_span_that_has_ended_gets_no_more_attributes(telemetry):
    spans = spans_of(telemetry.tracer, SpanKind.CLIENT)
    span = spans.start("GET", Context(), ATTRIBUTES, 5)
    span.end(6)

    spans.add(span, MORE)

    assert telemetry.span.attributes == ATTRIBUTES


def test_attributes_that_somebody_else_sets_stay(telemetry):
    spans = spans_of(telemetry.tracer, SpanKind.CLIENT)
    span = spans.start("GET", Context(), ATTRIBUTES, 5)

    span.set_attribute("mine", "yes")
    span.set_attribute("port", 81)
    spans.add(span, MORE)
    span.set_attribute("status", 201)
    span.end()

    assert telemetry.span.attributes == {**ATTRIBUTES, **MORE, "mine": "yes", "port": 81, "status": 201}


def test_what_is_handed_over_stays_the_callers(telemetry):
    spans, attributes = spans_of(telemetry.tracer, SpanKind.CLIENT), dict(ATTRIBUTES)
    span = spans.start("GET", Context(), attributes, 5)

    spans.add(span, MORE)
    attributes["changed"] = "later"
    span.end()

    assert telemetry.span.attributes == {**ATTRIBUTES, **MORE}
    assert attributes == {**ATTRIBUTES, "changed": "later"}


def test_a_patch_of_the_tracers_method_is_called_at_once(telemetry, monkeypatch):
    spans = spans_of(telemetry.tracer, SpanKind.CLIENT)
    own = Tracer.start_span

    monkeypatch.setattr(Tracer, "start_span", lambda self, name, *told: own(self, f"patched {name}", *told))
    spans.start("GET", Context(), ATTRIBUTES, 5).end()

    assert telemetry.span.name == "patched GET"


def test_a_tracer_with_a_method_of_its_own_is_asked(telemetry):
    tracer = telemetry.tracer
    own = tracer.start_span
    tracer.start_span = lambda name, *told: own(f"patched {name}", *told)

    spans_of(tracer, SpanKind.CLIENT).start("GET", Context(), ATTRIBUTES, 5).end()

    assert telemetry.span.name == "patched GET"


@pytest.mark.parametrize("patched", [Span, _Span], ids=["of all", "of its class"])
def test_a_patch_of_the_spans_method_is_called_at_once(telemetry, monkeypatch, patched):
    spans = spans_of(telemetry.tracer, SpanKind.CLIENT)
    span = spans.start("GET", Context(), ATTRIBUTES, 5)
    own = Span.set_attributes

    monkeypatch.setattr(patched, "set_attributes", lambda self, told: own(self, dict.fromkeys(told, "hidden")))
    spans.add(span, MORE)
    span.end()

    assert telemetry.span.attributes == {**ATTRIBUTES, "status": "hidden", "version": "hidden"}


@pytest.mark.parametrize(("patched", "attributes"), [(Span, [ATTRIBUTES]), (ReadableSpan, [None])])
def test_a_patch_of_the_making_of_spans_sees_what_they_are_made_of(telemetry, monkeypatch, patched, attributes):
    spans, seen = spans_of(telemetry.tracer, SpanKind.CLIENT), []

    def see(own, span, told, named):
        seen.append(named.get("attributes"))
        own(*told, **named)

    monkeypatch.setattr(patched, "__init__", FunctionWrapper(patched.__init__, see))
    spans.start("GET", Context(), ATTRIBUTES, 5)

    assert seen == attributes


def test_a_parent_that_has_no_context_is_refused_as_by_the_sdk(telemetry):
    context = set_span_in_context(NonRecordingSpan("no context"), Context())

    with pytest.raises(TypeError):
        spans_of(telemetry.tracer, SpanKind.CLIENT).start("GET", context, ATTRIBUTES, 5)


def test_a_class_of_attributes_that_takes_the_place_of_the_sdks_keeps_them(telemetry, monkeypatch):
    spans = spans_of(telemetry.tracer, SpanKind.CLIENT)
    monkeypatch.setattr("opentelemetry.sdk.trace.BoundedAttributes", Redacting)
    spans.start("GET", Context(), {"method": "GET"}, 5).end()

    assert telemetry.span.attributes == {"method": "hidden"}


def test_a_spans_lock_is_of_the_kind_that_the_sdk_takes_by_then(telemetry, monkeypatch):
    spans, kind = spans_of(telemetry.tracer, SpanKind.CLIENT), type("Lock", (contextlib.nullcontext,), {})

    monkeypatch.setattr("threading.Lock", kind)  # as gevent does, maybe late
    span = spans.start("GET", Context(), ATTRIBUTES, 5)

    assert type(span._lock) is kind


def test_a_class_of_spans_that_takes_the_place_of_the_sdks_is_the_spans(telemetry, monkeypatch):
    spans, mine = spans_of(telemetry.tracer, SpanKind.CLIENT), type("Mine", (_Span,), {})

    monkeypatch.setattr("opentelemetry.sdk.trace._Span", mine)

    assert type(spans.start("GET", Context(), ATTRIBUTES, 5)) is mine


def test_a_tracer_of_another_class_is_asked(telemetry):
    class Mine(Tracer):
        __module__ = Tracer.__module__

        def start_span(self, name, *told, **named):
            return super().start_span(f"my {name}", *told, **named)

    tracer = telemetry.tracer
    tracer.__class__ = Mine

    spans_of(tracer, SpanKind.CLIENT).start("GET", Context(), ATTRIBUTES, 5).end()

    assert telemetry.span.name == "my GET"


@known_release
def test_what_is_clean_is_not_cleaned(telemetry, cleaned):
    spans = spans_of(telemetry.tracer, SpanKind.CLIENT)

    spans.add(spans.start("GET", Context(), ATTRIBUTES, 5), MORE)

    assert cleaned == []


@pytest.mark.parametrize(
    ("release", "is_read"),
    [("1.39.0", True), ("1.42.0", False), ("1.45.2", True), ("1.45.3", False), ("1.45.0rc1", False)],
)
def test_what_is_read_are_releases(monkeypatch, release, is_read):
    monkeypatch.setattr(opentelemetry.sdk.version, "__version__", release)

    assert sdk_releases._is_sdk_read() is is_read


@pytest.mark.parametrize("release", ["1.45.999", "1.46.0", "unknown"])
def test_a_release_of_the_sdk_that_nobody_has_read_goes_its_own_way(telemetry, monkeypatch, release):
    monkeypatch.setattr(opentelemetry.sdk.version, "__version__", release)
    monkeypatch.setitem(sys.modules, "hopline.http.sdk_spans", None)  # it may not be possible to import it, either
    spans = spans_of(telemetry.tracer, SpanKind.CLIENT)

    span = spans.start("GET", Context(), ATTRIBUTES, 5)
    spans.add(span, MORE)
    span.end()

    assert telemetry.span.attributes == {**ATTRIBUTES, **MORE}


@known_release
def test_a_stand_in_hands_over_once_there_is_a_provider(telemetry, monkeypatch, cleaned):
    monkeypatch.setattr(api, "_TRACER_PROVIDER", None)
    spans = spans_of(ProxyTracer("test"), SpanKind.CLIENT)
    spans.start("before", Context(), ATTRIBUTES, 5).end()

    monkeypatch.setattr(api, "_TRACER_PROVIDER", telemetry.tracer_provider)
    spans.start("first", Context(), ATTRIBUTES, 5, (Link(HERE),)).end()
    del cleaned[:]
    span = spans.start("second", Context(), ATTRIBUTES, 5, (Link(HERE),))
    spans.add(span, MORE)
    of_links = len(cleaned)
    span.end()

    first, second = telemetry.spans
    assert [(span.name, span.kind, span.start_time) for span in (first, second)] == [
        ("first", SpanKind.CLIENT, 5),
        ("second", SpanKind.CLIENT, 5),
    ]
    assert [len(span.links) for span in (first, second)] == [1, 1]
    assert (first.attributes, second.attributes) == (ATTRIBUTES, {**ATTRIBUTES, **MORE})
    assert of_links == 0
