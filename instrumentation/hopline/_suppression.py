"""Whether somebody has asked all instrumentations to keep silent, as exporters do for what they send."""

from __future__ import annotations

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY as _SUPPRESS
from opentelemetry.context import Context

_PLAIN = "suppress_instrumentation"  # the key's name in older releases, still set by some


def is_suppressed(context: Context) -> bool:
    """Whether nothing is to be told of what happens in ``context``."""
    return bool(context.get(_SUPPRESS) or context.get(_PLAIN))
