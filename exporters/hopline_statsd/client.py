"""A statsd client: `StatsdClient(config).timing("jobs.import", 12.5)`. The exporters send with it, too."""

from __future__ import annotations

import random
from collections.abc import Mapping
from types import TracebackType

from hopline_statsd.config import StatsdConfig
from hopline_statsd.exits import EXIT_TIMEOUT, close_with
from hopline_statsd.fields import text_of
from hopline_statsd.lines import DIALECTS, MAX_VALUE, Dialect, dotted, gauge, number, sample_rate, segment
from hopline_statsd.namer import LineType
from hopline_statsd.sender import Sender
from hopline_statsd.stats import INVALID, StatsdStats
from hopline_statsd.values import DURATION, finite

Tags = Mapping[str, object]

_MAX_LINE_FORMATS = 8192
_PLAIN = frozenset((str, int))  # whose text is what `str` makes of them


class _LineFormats:
    """The line formats of one type; a bounded cache.

    Args:
        prefix: What every name starts with, with its dot, or nothing.
        dialect: How lines are written.
        line_type: What kind of line it is.

    Attributes:
        by_name: The formats without tags that were made so far. A plain `dict`, which is looked up in
            fastest.
    """

    def __init__(self, prefix: str, dialect: Dialect, line_type: LineType) -> None:
        self.by_name: dict[str, bytes] = {}
        self._prefix = prefix
        self._dialect = dialect
        self._line_type = line_type
        self._tagged: dict[object, bytes] = {}
        self._with_other_types: set[str] = set()

    def named(self, name: str) -> bytes:
        """Return the line format for a name."""
        line_format = self.by_name.get(name)
        if line_format is None:
            if len(self.by_name) >= _MAX_LINE_FORMATS:
                self.by_name.clear()
            line_format = self.by_name[name] = self._make(name, {})
        return line_format

    def tagged(self, name: str, tags: Tags) -> bytes:
        """Return the line format for a name and tags."""
        if name in self._with_other_types:
            return self._written(name, tags)
        try:
            line_format = self._tagged.get((name, *tags, *tags.values()))
        except TypeError:  # a list, say, which is no key
            line_format = None
        return self._written(name, tags) if line_format is None else line_format

    def _written(self, name: str, tags: Tags) -> bytes:
        """Return the line format for the texts of tags: `True`, `1` and `1.0` have three, and are one key."""
        texts = [str(value) if type(value) in _PLAIN else text_of(value) for value in tags.values()]
        key = (name, *tags, *texts)
        line_format = self._tagged.get(key)
        if line_format is None:
            if len(self._tagged) >= _MAX_LINE_FORMATS:
                self._tagged.clear()
                self._with_other_types.clear()
            if texts != [*tags.values()]:
                self._with_other_types.add(name)
            line_format = self._tagged[key] = self._make(name, dict(zip(tags, texts, strict=True)))
        return line_format

    def _make(self, name: str, texts: Mapping[str, str]) -> bytes:
        dialect, (type_, conversion, rate) = self._dialect, self._line_type
        whole = self._prefix + (dotted(name) or segment(name))
        if not dialect.has_tags:
            whole = ".".join([whole, *(segment(text) for text in texts.values())])
            return dialect.line_format(whole, type_, conversion, rate=rate)
        cleaned = {dialect.tag_key(key): dialect.tag_value(text) for key, text in texts.items()}
        return dialect.line_format(whole, type_, conversion, cleaned, rate)


class StatsdClient:
    """Sends metrics to a statsd server; a context manager. Any thread may call it, none waits for the server.

    Lines are packed into packets; one that is not full is sent after `flush_interval`. What cannot be sent is
    counted, see `stats`. In a forked child the client goes on with a socket of its own. At the end of the
    process, or of the client, what is left is sent.

    Args:
        config: The settings; those of the environment by default. The service name of a resource is not
            known here: without a prefix names begin with their own first segment.
    """

    def __init__(self, config: StatsdConfig | None = None) -> None:
        self.config = StatsdConfig.from_environment() if config is None else config
        self._dialect = DIALECTS[self.config.dialect]
        self._rate = self.config.sample_rate
        self._sender = Sender(self.config)
        self._entries = self._sender.entries
        self._room = self._sender.room
        self._timers = self._line_formats(self.config.timer_type, DURATION)
        # Where lines are sampled no timer is ever known, and each asks whether it is chosen.
        self._known_timers = self._timers.by_name if self._rate == 1.0 else {}
        self._counters = self._line_formats("c")
        self._histograms = self._line_formats("h", DURATION)
        self._distributions = self._line_formats("d", DURATION)
        self._gauges = self._line_formats("g")
        self._sets = self._line_formats("s")
        self._finalizer = close_with(self, self._sender.close)

    def __enter__(self) -> StatsdClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def timing(self, name: str, milliseconds: float, tags: Tags | None = None) -> None:
        """Send a duration.

        Args:
            name: A dotted name; what may not stand in it is replaced.
            milliseconds: 0 to 1e15, sent with the resolution of a microsecond; another value is dropped and
                counted.
            tags: Appended to the name, value after value, in the dialect without tags.
        """
        try:
            if not 0.0 <= milliseconds <= MAX_VALUE:  # NaN is not, either
                self._sender.tally.dropped(INVALID)
                return
            if tags is None:
                line_format = self._known_timers[name]
            elif self._rate == 1.0 or self._is_chosen():
                line_format = self._timers.tagged(name, tags)
            else:
                return
        except KeyError:
            if not self._is_chosen():
                return
            line_format = self._timers.named(name)
        except (TypeError, ArithmeticError):  # no number; a Decimal that is none
            self._sender.tally.dropped(INVALID)
            return
        entries = self._entries
        entries += (line_format, milliseconds)
        if len(entries) > self._room[0]:
            self._sender.relieve()

    def increment(self, name: str, value: float = 1, tags: Tags | None = None) -> None:
        """Add to a counter.

        Args:
            name: A dotted name; what may not stand in it is replaced.
            value: A number within ±1e15; another one is dropped and counted.
            tags: Appended to the name, value after value, in the dialect without tags.
        """
        checked = finite(value, 1.0)
        if checked is None:
            self._sender.tally.dropped(INVALID)
        elif self._is_chosen():
            self._sender.put(_line_format(self._counters, name, tags), number(checked))

    def gauge(self, name: str, value: float, tags: Tags | None = None) -> None:
        """Set a gauge. It is never sampled.

        Args:
            name: A dotted name; what may not stand in it is replaced.
            value: A number within ±1e15; another one is dropped and counted.
            tags: Appended to the name, value after value, in the dialect without tags.
        """
        checked = finite(value, 1.0)
        if checked is None:
            self._sender.tally.dropped(INVALID)
        else:
            self._sender.put(b"%s", gauge(_line_format(self._gauges, name, tags), checked))

    def set(self, name: str, value: object, tags: Tags | None = None) -> None:
        """Add a member to a set; the server counts distinct members. It is never sampled.

        Args:
            name: A dotted name; what may not stand in it is replaced.
            value: The member; what may not stand in a line is replaced in its text.
            tags: Appended to the name, value after value, in the dialect without tags.
        """
        self._sender.put(_line_format(self._sets, name, tags), self._dialect.member(text_of(value)).encode())

    def histogram(self, name: str, value: float, tags: Tags | None = None) -> None:
        """Send a value of which the server makes statistics: `h`, or `ms` in a dialect that has no `h`.

        Args:
            name: A dotted name; what may not stand in it is replaced.
            value: 0 to 1e15 in any unit; another value is dropped and counted.
            tags: Appended to the name, value after value, in the dialect without tags.
        """
        self._put_sample(self._histograms, name, value, tags)

    def distribution(self, name: str, value: float, tags: Tags | None = None) -> None:
        """Send a value for statistics over all senders: `d`, or `ms` in a dialect that has no `d`.

        Args:
            name: A dotted name; what may not stand in it is replaced.
            value: 0 to 1e15 in any unit; another value is dropped and counted.
            tags: Appended to the name, value after value, in the dialect without tags.
        """
        self._put_sample(self._distributions, name, value, tags)

    def flush(self, timeout: float = 10.0) -> bool:
        """Send whatever is there, also in a packet that is not full.

        Args:
            timeout: Seconds to wait at most for an address, a connection or room in the socket.

        Returns:
            Whether all of it was handed to the system.
        """
        return self._sender.flush(timeout)

    def close(self, timeout: float = EXIT_TIMEOUT) -> None:
        """Flush, then close the socket; once is enough. Lines that come later are dropped and counted.

        Args:
            timeout: Seconds to wait at most.
        """
        self._finalizer.detach()
        self._sender.close(timeout)

    def stats(self) -> StatsdStats:
        """Return what this process has sent and dropped so far."""
        return self._sender.stats()

    def _put_sample(self, line_formats: _LineFormats, name: str, value: float, tags: Tags | None) -> None:
        checked = finite(value, 1.0, lowest=0.0)
        if checked is None:
            self._sender.tally.dropped(INVALID)
        elif self._is_chosen():
            self._sender.put(_line_format(line_formats, name, tags), checked)

    def _line_formats(self, type_: str, conversion: str = "%s") -> _LineFormats:
        prefix = f"{dotted(self.config.prefix)}." if self.config.prefix else ""
        return _LineFormats(prefix, self._dialect, LineType(type_, conversion, sample_rate(type_, self._rate)))

    def _is_chosen(self) -> bool:
        return self._rate == 1.0 or random.random() < self._rate  # noqa: S311  no secret


def _line_format(line_formats: _LineFormats, name: str, tags: Tags | None) -> bytes:
    return line_formats.named(name) if tags is None else line_formats.tagged(name, tags)
