"""Names for what rules ask for: prefix, template, dialect and budget, for spans and for metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from hopline_statsd.budget import NameBudget, Series, Values
from hopline_statsd.config import StatsdConfig
from hopline_statsd.fields import Field, Scope, text_of
from hopline_statsd.lines import DIALECTS, dotted, segment
from hopline_statsd.rules import Naming
from hopline_statsd.templates import Template

_SERVICE = "service.name"


class LineType(NamedTuple):
    """What a line says about its value.

    Attributes:
        type: `ms`, `h`, `d`, `c`, `g` or `s`.
        conversion: The `%` conversion that stands for the value.
        rate: The sample rate that is written on the line.
    """

    type: str
    conversion: str = "%s"
    rate: float = 1.0


class Name(NamedTuple):
    """A parsed `Naming`, as one dialect needs it."""

    rule: str
    name: Template
    tags: Mapping[str, Template]

    @property
    def fields(self) -> tuple[Field, ...]:
        """Its fields, each once."""
        templates = (self.name, *self.tags.values())
        return tuple(dict.fromkeys(field for template in templates for field in template.fields))


def prefix_of(config: StatsdConfig, resource: Mapping[str, object]) -> str:
    """Return what every name starts with, as it is sent.

    Args:
        config: Its prefix is the first choice.
        resource: The attributes of the resource; its `service.name` is the second.
    """
    if config.prefix is not None:
        return dotted(config.prefix)
    # A service name is one segment: "shop.example" is a name, not a path.
    return segment(text_of(resource.get(_SERVICE) or "unknown_service"))


class Namer:
    """Makes line formats under one prefix.

    Args:
        config: The dialect and the prefix.
        resource: The attributes of the resource, see `prefix_of`.
        budget: Limits the number of distinct names.
    """

    def __init__(self, config: StatsdConfig, resource: Mapping[str, object], budget: NameBudget) -> None:
        self.dialect = DIALECTS[config.dialect]
        self.resource = resource
        self._budget = budget
        self._prefix = prefix_of(config, resource)

    def parse(self, rule: str, naming: Naming) -> Name:
        """Parse the templates of a rule.

        Args:
            rule: The rule's id.
            naming: The rule's templates.

        Raises:
            RuleError: A template is wrong.
        """
        name, tags = naming.parse(self.dialect.has_tags)
        return Name(rule, name, {self.dialect.tag_key(key): template for key, template in tags.items()})

    def line_format(self, name: Name, scope: Scope, line_type: LineType, suffix: str = "") -> bytes:
        """Make a line format for what a scope says, within the budget.

        Args:
            name: The name's templates.
            scope: Where its fields are looked up.
            line_type: What kind of line it is.
            suffix: What follows the name, with its dot.

        Returns:
            A format that takes the value.
        """

        def render(values: Values) -> Series:
            text = f"{self._prefix}.{name.name.render(values, segment)}{suffix}"
            tags = [(key, template.render(values, self.dialect.tag_value)) for key, template in name.tags.items()]
            return text, tuple(tags)

        values = {field: field.text(scope) for field in name.fields}
        text, tags = self._budget.name(name.rule, values, render)
        return self.dialect.line_format(text, line_type.type, line_type.conversion, dict(tags), line_type.rate)
