"""What the semantic conventions call an error."""

from __future__ import annotations


def error_type_of(error: BaseException) -> str:
    """The value of ``error.type``: the exception's class, fully qualified (a built-in one by its name alone)."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
