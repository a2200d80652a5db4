"""Name templates: `requests.{host}.{http.route,code.function.name|unknown}`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hopline_statsd.fields import Field

_PART = re.compile(r"\{(?P<field>[^{}]*)\}|(?P<literal>[^{}]+)|(?P<stray>[{}])")
_ATTRIBUTE = r"[^\W\d][^\s,|{}]*"
_NAMES = re.compile(rf"{_ATTRIBUTE}(?:[ ]*,[ ]*{_ATTRIBUTE})*")
_LITERAL = re.compile(r"[A-Za-z0-9_.-]*")


class TemplateError(ValueError):
    """A template that says no name; the message is the reason."""


@dataclass(frozen=True)
class Template:
    """A name with places for fields.

    Attributes:
        parts: Literal text and fields, in order.
    """

    parts: tuple[str | Field, ...]

    @classmethod
    def parse(cls, text: str) -> Template:
        """Read a template.

        Args:
            text: Literal text of `[A-Za-z0-9_.-]`, and fields in braces: one or more names that are tried
                in order, separated by commas, then `|` and what stands in where none has a value (`unknown`
                if not given).

        Returns:
            The template.

        Raises:
            TemplateError: The text is no template.
        """
        if not text:
            raise TemplateError("the template is empty")
        return cls(tuple(_part(match) for match in _PART.finditer(text)))

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields, in order."""
        return tuple(part for part in self.parts if isinstance(part, Field))

    @property
    def has_empty_segment(self) -> bool:
        """Whether a dot stands at an end, or beside another one."""
        return not all("".join("x" if isinstance(part, Field) else part for part in self.parts).split("."))

    def render(self, values: Mapping[Field, str], clean: Callable[[str], str]) -> str:
        """Put values in the places of the fields.

        Args:
            values: The text of each field.
            clean: Takes from a text what may not stand in this place.

        Returns:
            The name.
        """
        return "".join(part if isinstance(part, str) else clean(values[part]) for part in self.parts)


def _part(match: re.Match[str]) -> str | Field:
    if match["stray"]:
        raise TemplateError(f"a {match['stray']!r} without its other half at character {match.start() + 1}")
    if match["literal"] is not None:
        if not _LITERAL.fullmatch(match["literal"]):
            raise TemplateError(f"{match['literal']!r} holds a character that no name may hold")
        return match["literal"]
    names, bar, default = match["field"].partition("|")
    if not _NAMES.fullmatch(names.strip()):
        raise TemplateError(f"{{{match['field']}}} names no attribute")
    found = tuple(name.strip() for name in names.split(","))
    return Field(found, default.strip()) if bar and default.strip() else Field(found)
