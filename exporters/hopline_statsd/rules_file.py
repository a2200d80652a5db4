"""Rules from a TOML file: what is wrong in it is said with its line."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from hopline_statsd.rules import Condition, MetricRule, Naming, Rule, RuleError, RuleSet
from hopline_statsd.rulesets import RULE_SETS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_Table = Mapping[str, Any]
_AnyRule = TypeVar("_AnyRule", Rule, MetricRule)

_TOP_KEYS = ("extends", "without", "span", "metric")
_NAMING_KEYS = ("id", "name", "tags", "plain", "when")
_SPAN_KEYS = (*_NAMING_KEYS, "kind", "type", "value", "unit")
_METRIC_KEYS = (*_NAMING_KEYS, "match", "scale")


class RulesFileError(ValueError):
    """A rules file that cannot be followed; the message names the file, the line and the reason."""


def load_rules(source: str) -> RuleSet:
    """Find a rule set by its name, or read one from a file.

    Args:
        source: `default`, `phases`, `talisker` or the path of a TOML file.

    Returns:
        The rule set.

    Raises:
        RulesFileError: There is no such file, or something in it is wrong.
    """
    if source in RULE_SETS:
        return RULE_SETS[source]
    try:
        text = Path(source).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise RulesFileError(f"it is no rule set, and as a file it cannot be read ({error})") from error
    return parse_rules(text, source)


def parse_rules(text: str, source: str = "rules") -> RuleSet:
    """Read rules from TOML.

    Args:
        text: The TOML document.
        source: What the messages call it.

    Returns:
        The rule set that it extends (`default` unless it says else), with its rules on top.

    Raises:
        RulesFileError: Something in it is wrong.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RulesFileError(f"{source}: {error}") from error
    blame = _Blame(text, source)
    with blame.on():
        _only(document, _TOP_KEYS)
        base = _base(document)
        span_tables, metric_tables = _tables(document, "span"), _tables(document, "metric")
        without = _strings(document, "without")
    spans: dict[str, Rule] = {}
    for index, table in enumerate(span_tables):
        with blame.on("span", index):
            _add(spans, _rule(table))
    metrics: dict[str, MetricRule] = {}
    for index, table in enumerate(metric_tables):
        with blame.on("metric", index):
            _add(metrics, _metric_rule(table))
    with blame.on():
        return base.extended(spans.values(), metrics.values(), without)


class _Blame:
    """Knows on which line a table begins and a key stands: the TOML parser does not tell."""

    def __init__(self, text: str, source: str) -> None:
        self._lines = text.splitlines()
        self._source = source

    @contextmanager
    def on(self, section: str | None = None, index: int = 0) -> Iterator[None]:
        """Turn a `RuleError` within into a `RulesFileError` that names the line."""
        try:
            yield
        except RuleError as error:
            raise RulesFileError(f"{self._source}, line {self._line(section, index, error.key)}: {error}") from error

    def _line(self, section: str | None, index: int, key: str) -> int:
        first = 0
        if section is not None:
            header = re.compile(rf"\s*\[\[\s*[\"']?{section}[\"']?\s*\]\]")
            headers = [number for number, line in enumerate(self._lines) if header.match(line)]
            if index >= len(headers):
                return self._line_in_array(section, index, key)
            first = headers[index]
        wanted = re.compile(rf"\s*(\[{section}\.{key}\]|\"?{re.escape(key)}\"?\s*[=.])")
        end = re.compile(r"\s*\[\[")
        for number, line in enumerate(self._lines[first:], first):
            if number > first and end.match(line):
                break
            if wanted.match(line):
                return number + 1
        return first + 1

    def _line_in_array(self, section: str, index: int, key: str) -> int:
        """Find the line where the rules stand on the right of `span =`; mostly each of them has the key."""
        wanted = re.compile(rf"(?<![\w.-])[\"']?{re.escape(key)}[\"']?\s*[=.]")
        lines = [number for number, line in enumerate(self._lines, 1) for _ in wanted.findall(line)]
        return lines[index] if index < len(lines) else self._line(None, 0, section)


def _base(document: _Table) -> RuleSet:
    name = _text(document, "extends", "default")
    if name == "none":
        return RuleSet()
    if name not in RULE_SETS:
        raise RuleError("extends", f"{name!r} is none of {', '.join((*RULE_SETS, 'none'))}")
    return RULE_SETS[name]


def _rule(table: _Table) -> Rule:
    _only(table, _SPAN_KEYS)
    return Rule(
        _text(table, "id"),
        _naming(table),
        kinds=_strings(table, "kind"),
        when=_conditions(table),
        type=_text(table, "type", "timer"),
        value=_text(table, "value") if "value" in table else None,
        unit=_text(table, "unit", "ms"),
    )


def _metric_rule(table: _Table) -> MetricRule:
    _only(table, _METRIC_KEYS)
    scale = table.get("scale", 1.0)
    if isinstance(scale, bool) or not isinstance(scale, (int, float)):
        raise RuleError("scale", f"{scale!r} is no number")
    return MetricRule(_text(table, "id"), _text(table, "match"), _naming(table), _conditions(table), float(scale))


def _add(rules: dict[str, _AnyRule], rule: _AnyRule) -> None:
    if rule.id in rules:
        raise RuleError("id", f"there is a rule {rule.id!r} above already")
    rules[rule.id] = rule


def _naming(table: _Table) -> Naming:
    tags = table.get("tags", {})
    if not isinstance(tags, dict) or not all(isinstance(value, str) for value in tags.values()):
        raise RuleError("tags", "it is no table of templates")
    return Naming(_text(table, "name"), tags, _text(table, "plain") if "plain" in table else None)


def _conditions(table: _Table) -> Mapping[str, Condition]:
    when = table.get("when", {})
    if not isinstance(when, dict):
        raise RuleError("when", "it is no table of conditions")
    return when


def _only(table: _Table, keys: tuple[str, ...]) -> None:
    for key in table:
        if key not in keys:
            raise RuleError(key, f"there is no such key; there are {', '.join(keys)}")


def _text(table: _Table, key: str, default: str | None = None) -> str:
    value = table.get(key, default)
    if value is None:
        raise RuleError(key, "it is missing")
    if not isinstance(value, str):
        raise RuleError(key, f"{value!r} is no string")
    return value


def _strings(table: _Table, key: str) -> tuple[str, ...]:
    value = table.get(key, ())
    values = (value,) if isinstance(value, str) else value
    if not isinstance(values, (list, tuple)) or not all(isinstance(one, str) for one in values):
        raise RuleError(key, f"{value!r} is neither a string nor a list of strings")
    return tuple(values)


def _tables(document: _Table, key: str) -> list[_Table]:
    value = document.get(key, [])
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise RuleError(key, f"rules are written below [[{key}]]")
    return value
