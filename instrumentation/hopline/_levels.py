"""The logging extras: levels on top of each other, none of which ever changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_MAX_LEVELS = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Extras:
    """One level of what was pushed for the logs, on top of the levels below it."""

    values: Mapping[str, object]
    """This level's and those below it that it does not hide."""
    depth: int = 0
    below: Extras | None = None
    owner: object = None
    """Whose level it is: a ``with`` block's, or nobody's."""

    def push(self, values: Mapping[str, object], owner: object = None) -> Extras:
        """Put a level on top; past 1000 levels, in the place of the topmost."""
        merged = MappingProxyType({**self.values, **values})
        if self.depth >= _MAX_LEVELS:
            return Extras(merged, self.depth, self.below, owner)
        return Extras(merged, self.depth + 1, self, owner)

    def down_to(self, depth: int) -> Extras:
        """The level ``depth``, or this one if it is not above it."""
        level = self
        while level.depth > depth and level.below is not None:
            level = level.below
        return level

    def without(self, owner: object) -> Extras:
        """What is below the topmost level of ``owner``, or all of this if there is none."""
        level: Extras | None = self
        while level is not None and level.owner is not owner:
            level = level.below
        return self if level is None or level.below is None else level.below


NO_EXTRAS = Extras(MappingProxyType({}))
