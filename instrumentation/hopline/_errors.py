"""What telemetry says of an error."""

from __future__ import annotations

import signal


def is_of_a_signal(error: BaseException) -> bool:
    """Whether the handler of a signal has raised it, which may be called between any two steps of ours."""
    handlers = {getattr(signal.getsignal(each), "__code__", None) for each in signal.valid_signals()} - {None}
    at = error.__traceback__
    while at is not None and at.tb_frame.f_code not in handlers:
        at = at.tb_next
    return at is not None


def error_type_of(error: BaseException) -> str:
    """The value of ``error.type``: the exception's class, fully qualified (a built-in one by its name alone)."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def message_of(error: BaseException) -> str:
    """What ``error`` says; the name of its class where its own ``__str__`` fails, as aiohttp's may."""
    try:
        return str(error)
    except Exception as failure:  # it is the application's class, and only its message is lost
        if is_of_a_signal(failure):
            raise
        return type(error).__qualname__
