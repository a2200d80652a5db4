"""Formatters whose lines no value can break out of: one record, one line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from logging import Formatter, LogRecord
from time import gmtime, strftime

from hopline._extras import FIELDS, STANDARD
from hopline.logging._records import stamped
from hopline.logging._values import Plain, plain, text, to_json

_BARE = re.compile(r"[!#-<>-\[\]-~]+")
_NOT_IN_A_KEY = re.compile(r"[^!#-<>-\[\]-~]+")
_NOT_EXTRA = STANDARD.union(FIELDS)
_HEAD = ("time", "level", "logger", "message", "service", "request_id", "trace_id", "span_id", "trace_flags")
_OWN = frozenset((*_HEAD, "exception", "stack"))


class _LineFormatter(Formatter):
    """What both formatters put on a line.

    The ids of the trace have the names and forms of the specification "Trace Context in non-OTLP Log Formats".
    """

    def _items(self, record: LogRecord) -> Iterator[tuple[str, object]]:
        fields = stamped(record).__dict__
        yield "time", self.formatTime(record, self.datefmt)
        yield "level", record.levelname.lower()
        yield "logger", record.name
        yield "message", record.getMessage()
        yield from self._ids(fields)
        for name, value in fields.items():
            if name not in _NOT_EXTRA:
                yield (f"{name}_" if name in _OWN else name), value
        if record.exc_info and not record.exc_text:
            # Kept on the record, as logging's own formatter keeps it.
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            yield "exception", record.exc_text
        if record.stack_info:
            yield "stack", self.formatStack(record.stack_info)

    def _ids(self, fields: dict[str, object]) -> Iterator[tuple[str, object]]:
        if fields.get("otelServiceName"):
            yield "service", fields["otelServiceName"]
        if fields.get("request_id") is not None:
            yield "request_id", fields["request_id"]
        if fields.get("otelTraceID", "0") != "0":
            yield "trace_id", fields["otelTraceID"]
            yield "span_id", fields.get("otelSpanID")
            yield "trace_flags", "01" if fields.get("otelTraceSampled") else "00"

    def formatTime(self, record: LogRecord, datefmt: str | None = None) -> str:
        """The record's time: ISO 8601, UTC, to the millisecond, unless there is a ``datefmt``."""
        if datefmt:
            return super().formatTime(record, datefmt)
        seconds, milliseconds = divmod(int(record.created * 1000), 1000)
        return f"{strftime('%Y-%m-%dT%H:%M:%S', gmtime(seconds))}.{milliseconds:03}Z"


class LogfmtFormatter(_LineFormatter):
    r"""Formats a record as one line of ``key=value`` pairs.

    A value stands in quotes where it has to; in them quotes, backslashes, new lines and everything else that is not
    printable are escaped as in JSON. What a key may not have becomes ``_``.

    Example:
        >>> import logging
        >>> values = {"name": "app", "levelname": "INFO", "msg": 'say "hi"', "created": 0, "n": 1}
        >>> record = logging.makeLogRecord(values)
        >>> LogfmtFormatter().format(record)
        'time=1970-01-01T00:00:00.000Z level=info logger=app message="say \\"hi\\"" n=1'
    """

    def format(self, record: LogRecord) -> str:
        """The line, without an end."""
        return " ".join([f"{_key(name)}={_quoted(value)}" for name, value in self._items(record)])


class JsonFormatter(_LineFormatter):
    """Formats a record as one line of JSON (RFC 8259), in ASCII.

    Numbers, texts, booleans, lists and dictionaries stay what they are; anything else is written as text.

    Example:
        >>> import logging
        >>> values = {"name": "app", "levelname": "INFO", "msg": "hello", "created": 0, "n": 1}
        >>> record = logging.makeLogRecord(values)
        >>> JsonFormatter().format(record)
        '{"time":"1970-01-01T00:00:00.000Z","level":"info","logger":"app","message":"hello","n":1}'
    """

    def format(self, record: LogRecord) -> str:
        """The line, without an end."""
        line: dict[str, Plain] = {text(name): plain(value) for name, value in self._items(record)}
        return json.dumps(line, separators=(",", ":"))


def _quoted(value: object) -> str:
    shown = _shown(value)
    if _BARE.fullmatch(shown):
        return shown
    if shown.isprintable():
        escaped = shown.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return json.dumps(shown)


def _shown(value: object) -> str:
    made = plain(value)
    return made if isinstance(made, str) else to_json(made)


@lru_cache(maxsize=1024)
def _key(name: object) -> str:
    return _NOT_IN_A_KEY.sub("_", text(name)) or "_"
