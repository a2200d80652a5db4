"""What telemetry says of an error."""

from __future__ import annotations


def error_type_of(error: BaseException) -> str:
    """The value of ``error.type``: the exception's class, fully qualified (a built-in one by its name alone)."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def message_of(error: BaseException) -> str:
    """What ``error`` says; the name of its class where its own ``__str__`` fails, as aiohttp's may."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - it is the application's class, and only its message is lost
        return type(error).__qualname__
