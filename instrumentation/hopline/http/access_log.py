"""One structured log record for each request served, on the logger ``hopline.access``."""

from __future__ import annotations

from collections.abc import Mapping
from logging import INFO, getLogger

_logger = getLogger("hopline.access")


def is_wanted() -> bool:
    """Whether anybody listens: the logger is enabled for INFO."""
    return _logger.isEnabledFor(INFO)


def log_request(fields: Mapping[str, object], totals: Mapping[str, tuple[int, float]]) -> None:
    """Log one request.

    Args:
        fields: ``method``, ``path``, ``status``, ``duration_ms``, ``length`` and ``request_id``; each becomes an
            attribute of the record.
        totals: what was tracked while the request was served; each kind becomes ``<kind>_count`` and ``<kind>_ms``.
    """
    message = ("%s %s %s", (fields["method"], fields["path"], fields["status"]))
    record = _logger.makeRecord(_logger.name, INFO, __file__, 0, *message, None)
    # Not as `extra`, which refuses what a log record factory has set already: a request id, for one.
    record.__dict__.update(fields)
    for kind, (times, ms) in totals.items():
        record.__dict__.update({f"{kind}_count": times, f"{kind}_ms": round(ms, 3)})
    _logger.handle(record)
