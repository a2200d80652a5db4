"""How many distinct names there may be: what comes beyond is named `other`."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping

from hopline_statsd import forks
from hopline_statsd.fields import Field

_logger = logging.getLogger(__name__)

OTHER = "other"

Values = Mapping[Field, str]

Series = tuple[str, tuple[tuple[str, str], ...]]
"""A name and its tags: what the budget counts."""


class NameBudget:
    """Admits distinct names up to a limit, then merges: the field that varies most becomes `other`.

    A twentieth of the limit is kept for merged names, and a name for each rule where all fields are `other`.

    Args:
        limit: How many distinct names there may be at most.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept = limit // 20
        self.begin_anew()
        forks.watch(self)
        self._names: set[Series] = set()
        self._rules: set[str] = set()
        self._seen: defaultdict[tuple[str, Field], set[str]] = defaultdict(set)
        self._warned: set[tuple[str, Field]] = set()

    def begin_anew(self) -> None:
        """Go on in a forked child: another thread of the parent's may have been within."""
        # Reentrant: a signal handler may end a span while this very thread makes a name.
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._names)

    def name(self, rule: str, values: Values, render: Callable[[Values], Series]) -> Series:
        """Make a name that the budget allows.

        Args:
            rule: The id of the rule that makes the name.
            values: The values of its fields.
            render: Makes name and tags of the values.

        Returns:
            Name and tags, of the values or of some of them and `other`.
        """
        name = render(values)
        with self._lock:
            if name in self._names:
                return name
            self._rules.add(rule)
            if not values or len(self._names) < self._limit - max(self._kept, len(self._rules)):
                for field, value in values.items():
                    self._seen[rule, field].add(value)
                self._names.add(name)
                return name
            name, given_up = self._merged(rule, dict(values), render)
        # Without the lock: a logging handler may end spans of its own, and wait for the thread that does.
        for field, value in given_up:
            self._warn(rule, field, value)
        return name

    def _merged(
        self, rule: str, values: dict[Field, str], render: Callable[[Values], Series]
    ) -> tuple[Series, list[tuple[Field, str]]]:
        """The name with as many values as the budget allows, and those that it does not."""
        left = set(values)
        given_up: list[tuple[Field, str]] = []
        while left:
            widest = max(left, key=lambda field: (len(self._seen[rule, field]), field.names))
            left.remove(widest)
            given_up.append((widest, values[widest]))
            values[widest] = OTHER
            name = render(values)
            if name in self._names or len(self._names) < self._limit - len(self._rules):
                break
        self._names.add(name)
        return name, given_up

    def _warn(self, rule: str, field: Field, value: str) -> None:
        if (rule, field) in self._warned:
            return
        self._warned.add((rule, field))
        _logger.warning(
            "The limit of %s distinct statsd names (OTEL_EXPORTER_STATSD_MAX_NAMES) is reached: "
            "from now on {%s} of rule %r is 'other' where it is new, the first was %r",
            self._limit,
            ",".join(field.names),
            rule,
            value[:100],
        )
