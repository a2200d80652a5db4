"""What tells spans apart that have the same attributes: whatever their lines depend on, looked up fast."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any, Generic, TypeVar

from opentelemetry.sdk.trace import ReadableSpan

from hopline_statsd.fields import Attributes, Field, Source, text_of
from hopline_statsd.namer import Name
from hopline_statsd.rules import Rule, condition_fields

Read = Callable[[ReadableSpan, Attributes], str]
NamedRule = tuple[Rule, Name]

_Plan = TypeVar("_Plan")
_NONE: frozenset[str] = frozenset()


class Shape(Generic[_Plan]):
    """Spans whose attributes have the same names, and the plans for those that the rules tell apart.

    But for its plans it does not change, so that any thread may use it.

    Args:
        rules: The rules that may hold.
        attributes: Of one such span.
        typed: The attributes that have been numbers: `True`, `1` and `1.0` are one value, and three texts.
        written: The attributes that have been neither text nor numbers, but sequences of such.

    Attributes:
        getter: Gets the values of attributes that plans depend on.
        reads: Read what plans depend on besides.
        plans: The plans by what `getter` gets, or by that and what `reads` read; see `key`.
    """

    __slots__ = ("_compared", "_hidden", "_typed", "_written", "getter", "plans", "reads", "rules")

    def __init__(
        self,
        rules: tuple[NamedRule, ...],
        attributes: Attributes,
        typed: frozenset[str] = _NONE,
        written: frozenset[str] = _NONE,
    ) -> None:
        self.rules = rules
        self.plans: dict[Any, _Plan] = {}
        self._typed = typed
        self._written = written
        self._compared: set[str] = set()
        self._hidden: dict[tuple[tuple[Source, ...], Source], None] = {}
        short: dict[str, None] = {}
        reads: dict[object, Read] = {name: _of_attribute(name, text_of) for name in written}
        asked_for: dict[str, None] = {}
        for rule, name in rules:
            looked_at = [(field, False) for field in name.fields]
            for field, is_only_asked_for in (*looked_at, *condition_fields(rule.when)):
                # Of an attribute that is there it only matters whether it is empty, not how long a wait was.
                if is_only_asked_for and len(field.sources) == 1:
                    asked_for[field.sources[0].attribute] = None
                    continue
                reads.update({read: _of_span(read) for read in field.of_span})
                self._add(field, attributes, short, reads)
        for attribute in asked_for:
            if attribute in attributes and attribute not in short:
                reads[attribute] = _of_attribute(attribute, _is_there)
        self.getter: Callable[[Any], Any] = itemgetter(*short) if short else _nothing
        for attribute in typed:
            self.getter = _with_type(self.getter, attribute)
        self.reads = list(reads.values())

    def key(self, span: ReadableSpan, attributes: Attributes) -> Any:
        """Return the key of a span's plan, with what counts only where all that is tried before is empty."""
        key = self.getter(attributes)
        if self.reads:
            key = (key, tuple([read(span, attributes) for read in self.reads]))
        beyond = [_text(last, attributes) for before, last in self._hidden if not _any_text(before, attributes)]
        return (key, None, tuple(beyond)) if beyond else key

    def for_types_of(self, attributes: Attributes) -> Shape[_Plan]:
        """Return a shape that tells these values from equal ones of other types: mostly this one.

        Args:
            attributes: Of a span of this shape.
        """
        others = {name for name in self._compared if not isinstance(attributes[name], str)}
        numbers = {name for name in others if isinstance(attributes[name], (int, float))}
        typed, written = self._typed | numbers, self._written | (others - numbers)
        if typed == self._typed and written == self._written:
            return self
        return Shape(self.rules, attributes, typed, written)

    def _add(self, field: Field, attributes: Attributes, short: dict[str, None], reads: dict[object, Read]) -> None:
        """Have the key tell apart what a field tells apart."""
        before: tuple[Source, ...] = ()
        for source in field.sources:
            if source.attribute not in attributes:
                continue
            if not source.is_long:
                short[source.attribute] = None
                before += (source,)
                if not source.is_code:
                    self._compared.add(source.attribute)
            elif before:
                self._hidden[before, source] = None
            else:
                reads[source] = _of_attribute(source.attribute, source.read)


def _nothing(attributes: Attributes) -> None:
    return None


def _with_type(getter: Callable[[Any], Any], attribute: str) -> Callable[[Any], Any]:
    return lambda attributes: (getter(attributes), type(attributes[attribute]))


def _is_there(value: object) -> str:
    return "" if value == "" else "there"


def _of_span(read: Callable[[ReadableSpan], str]) -> Read:
    return lambda span, attributes: read(span)


def _of_attribute(attribute: str, read: Callable[[object], str]) -> Read:
    return lambda span, attributes: read(attributes[attribute])


def _text(source: Source, attributes: Attributes) -> str:
    return source.read(attributes[source.attribute])


def _any_text(sources: Iterable[Source], attributes: Attributes) -> bool:
    return any(_text(source, attributes) for source in sources)
