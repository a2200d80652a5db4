"""Rules: which spans and metrics make which lines. The rule sets that ship, and what users put on top."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from hopline_statsd.fields import Field, Scope, text_of
from hopline_statsd.lines import TIMER_TYPES, TYPES
from hopline_statsd.templates import Template, TemplateError

KINDS = ("internal", "server", "client", "producer", "consumer")
UNITS: Mapping[str, float] = {"ns": 1e-6, "us": 1e-3, "ms": 1.0, "s": 1e3, "1": 1.0, "By": 1.0}
"""What a unit is in milliseconds, where it is a time."""

TIMER = "timer"
"""The type of a rule whose lines have the type that `OTEL_EXPORTER_STATSD_TIMER_TYPE` says."""

_PRESENCE = ("*", "!*")
Condition = str | bool | int | float | list[Any] | tuple[Any, ...]


class RuleError(ValueError):
    """A rule that cannot be followed.

    Args:
        key: The rule's key that is wrong.
        reason: Why.
    """

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"{key}: {reason}")
        self.key = key


@dataclass(frozen=True)
class Naming:
    """A name: with tags for the dialects that have some, all in one for the others.

    Attributes:
        name: A template, without the prefix.
        tags: Templates by tag key.
        plain: The template for the dialect without tags; unless given, the name and the tags' values one
            after the other.
    """

    name: str
    tags: Mapping[str, str] = field(default_factory=dict)
    plain: str | None = None

    def parse(self, has_tags: bool) -> tuple[Template, Mapping[str, Template]]:
        """Return the name's template and those of the tags, as a dialect needs them.

        Args:
            has_tags: Whether the dialect has tags.

        Raises:
            RuleError: A template is wrong.
        """
        if has_tags:
            return _template("name", self.name), {key: _template("tags", text) for key, text in self.tags.items()}
        whole = self.plain if self.plain is not None else ".".join([self.name, *self.tags.values()])
        return _template("name" if self.plain is None else "plain", whole), {}


@dataclass(frozen=True)
class Rule:
    """Which spans make a line, and which line.

    Attributes:
        id: Tells rules apart: a rule takes the place of an earlier one with the same id.
        naming: The name and the tags.
        kinds: Span kinds, of `internal`, `server`, `client`, `producer`, `consumer`; empty for all.
        when: Conditions by field (see `hopline_statsd.fields.Field.names`). A string is a glob that the
            value's text matches (`*`: it is there; `!…`: it does not match, `!*`: it is not there), a
            boolean or a number is the value, a list holds alternatives. All must hold.
        type: `timer`, `ms`, `h`, `d`, `c`, `g` or `s`.
        value: The attribute that holds the value; unless given, the duration of the span, or 1 for `c`.
        unit: The unit of that attribute: `ns`, `us`, `ms`, `s`, or `1` for a bare number. Timers are sent
            in ms.

    Raises:
        RuleError: Something of it is wrong.
    """

    id: str
    naming: Naming
    kinds: tuple[str, ...] = ()
    when: Mapping[str, Condition] = field(default_factory=dict)
    type: str = TIMER
    value: str | None = None
    unit: str = "ms"

    def __post_init__(self) -> None:
        _check(self.naming, self.when)
        for kind in self.kinds:
            if kind not in KINDS:
                raise RuleError("kind", f"{kind!r} is none of {', '.join(KINDS)}")
        if self.type not in (TIMER, *TYPES):
            raise RuleError("type", f"{self.type!r} is none of {', '.join((TIMER, *TYPES))}")
        if self.unit not in UNITS:
            raise RuleError("unit", f"{self.unit!r} is none of {', '.join(UNITS)}")
        if self.type in ("g", "s") and self.value is None:
            raise RuleError("type", f"a line of type {self.type!r} needs the attribute that holds its value")

    @property
    def is_timer(self) -> bool:
        """Whether its lines hold milliseconds."""
        return self.type in (TIMER, *TIMER_TYPES)

    def holds(self, scope: Scope) -> bool:
        """Whether all conditions hold, and the value is there."""
        if self.value is not None and scope.attributes.get(self.value) is None:
            return False
        return holds(self.when, scope)


@dataclass(frozen=True)
class MetricRule:
    """How an OpenTelemetry metric is named.

    Attributes:
        id: Tells rules apart: a rule takes the place of an earlier one with the same id.
        match: A glob for the metric's name.
        naming: The name and the tags; `.count`, `.sum`, `.min` and `.max` are appended for a histogram.
        when: Conditions on attributes of the data point, as in `Rule.when`.
        scale: What the values are multiplied with: 1000 makes milliseconds of seconds.

    Raises:
        RuleError: Something of it is wrong.
    """

    id: str
    match: str
    naming: Naming
    when: Mapping[str, Condition] = field(default_factory=dict)
    scale: float = 1.0

    def __post_init__(self) -> None:
        _check(self.naming, self.when)
        if not math.isfinite(self.scale) or self.scale == 0:
            raise RuleError("scale", f"{self.scale!r} is no factor")

    def holds(self, metric: str, scope: Scope) -> bool:
        """Whether the rule names this metric's data point."""
        return fnmatchcase(metric, self.match) and holds(self.when, scope)


@dataclass(frozen=True)
class RuleSet:
    """Rules: each one for spans makes a line where it holds; for metrics, the first that holds counts.

    Attributes:
        spans: Rules for spans.
        metrics: Rules for metrics; one that none holds for keeps its own name, all attributes are tags.
    """

    spans: tuple[Rule, ...] = ()
    metrics: tuple[MetricRule, ...] = ()

    def __repr__(self) -> str:
        ids = [*(rule.id for rule in self.spans), *(rule.id for rule in self.metrics)]
        return f"RuleSet({', '.join(ids)})"

    def extended(
        self,
        spans: Iterable[Rule] = (),
        metrics: Iterable[MetricRule] = (),
        without: Iterable[str] = (),
    ) -> RuleSet:
        """Make a rule set of this one and more.

        Args:
            spans: Rules; one takes the place of the rule that has the same id.
            metrics: Rules for metrics; they are asked before the ones that are there.
            without: The ids of rules that are left out.

        Returns:
            The new rule set.

        Raises:
            RuleError: There is no rule with an id that shall be left out.
        """
        left_out = frozenset(without)
        by_id = {rule.id: rule for rule in (*self.spans, *spans)}
        metrics_by_id = {rule.id: rule for rule in (*metrics, *self.metrics)} | {rule.id: rule for rule in metrics}
        unknown = left_out - by_id.keys() - metrics_by_id.keys()
        if unknown:
            raise RuleError("without", f"there is no rule {', '.join(sorted(unknown))}")
        return RuleSet(
            tuple(rule for rule in by_id.values() if rule.id not in left_out),
            tuple(rule for rule in metrics_by_id.values() if rule.id not in left_out),
        )


def holds(when: Mapping[str, Condition], scope: Scope) -> bool:
    """Whether all conditions hold."""
    return all(_matches(_field(names).value(scope), wanted) for names, wanted in when.items())


def condition_fields(when: Mapping[str, Condition]) -> Iterator[tuple[Field, bool]]:
    """Yield the fields that conditions look at, and whether they only ask for them, and compare no value."""
    for names, wanted in when.items():
        yield _field(names), wanted in _PRESENCE


def _field(names: str) -> Field:
    return Field(tuple(name.strip() for name in names.split(",")))


def _matches(value: object, wanted: Condition) -> bool:
    if isinstance(wanted, (list, tuple)):
        return any(_matches(value, one) for one in wanted)
    if isinstance(wanted, str):
        pattern = wanted.removeprefix("!")
        found = value is not None and fnmatchcase(text_of(value), pattern)
        return found != wanted.startswith("!")
    # True == 1, but an attribute that is True is not one that is 1. What is derived is text already.
    return value is not None and text_of(value) == text_of(wanted)


def _check(naming: Naming, when: Mapping[str, Condition]) -> None:
    for has_tags in (True, False):
        naming.parse(has_tags)
    for names, wanted in when.items():
        if wanted in ([], ()):
            raise RuleError("when", f"{names!r} is compared with nothing")
        for one in wanted if isinstance(wanted, (list, tuple)) else (wanted,):
            if not isinstance(one, (str, bool, int, float)):
                raise RuleError("when", f"{names!r} is compared with {one!r}")


def _template(key: str, text: str) -> Template:
    try:
        template = Template.parse(text)
    except TemplateError as error:
        raise RuleError(key, f"{text!r}: {error}") from error
    if key != "tags" and template.has_empty_segment:
        raise RuleError(key, f"{text!r}: there is nothing beside a dot")
    return template
