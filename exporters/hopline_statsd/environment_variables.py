"""The environment variables that configure the statsd exporter.

Registered under the `opentelemetry_environment_variables` entry-point group, so that each one that starts
with `OTEL_` is an option of `opentelemetry-instrument` too: `--exporter_statsd_endpoint=udp://statsd:8125`.
"""

OTEL_EXPORTER_STATSD_ENDPOINT = "OTEL_EXPORTER_STATSD_ENDPOINT"
"""
.. envvar:: OTEL_EXPORTER_STATSD_ENDPOINT

Where the statsd server listens: ``udp://host:port``, ``udp6://host:port``, ``unix:///path`` (datagrams),
``unixstream:///path`` or ``tcp://host:port``.

**Default value:** ``udp://localhost:8125``
"""

OTEL_EXPORTER_STATSD_PREFIX = "OTEL_EXPORTER_STATSD_PREFIX"
"""
.. envvar:: OTEL_EXPORTER_STATSD_PREFIX

What every name starts with; its dots separate segments.

**Default value:** the ``service.name`` of the resource, as one segment
"""

OTEL_EXPORTER_STATSD_DIALECT = "OTEL_EXPORTER_STATSD_DIALECT"
"""
.. envvar:: OTEL_EXPORTER_STATSD_DIALECT

How tags are written: ``plain`` (in the name), ``dogstatsd``, ``datadog`` (for Datadog's own agent), ``influx``,
``graphite``, ``librato`` or ``signalfx``.

**Default value:** ``plain``
"""

OTEL_EXPORTER_STATSD_MAX_PACKET_SIZE = "OTEL_EXPORTER_STATSD_MAX_PACKET_SIZE"
"""
.. envvar:: OTEL_EXPORTER_STATSD_MAX_PACKET_SIZE

Bytes of payload in a packet.

**Default value:** ``1432`` for UDP, ``8192`` for the others
"""

OTEL_EXPORTER_STATSD_MAX_BUFFER_SIZE = "OTEL_EXPORTER_STATSD_MAX_BUFFER_SIZE"
"""
.. envvar:: OTEL_EXPORTER_STATSD_MAX_BUFFER_SIZE

Bytes of packets kept while the server does not take them; beyond, the oldest are dropped, and counted.

**Default value:** ``1048576``
"""

OTEL_EXPORTER_STATSD_FLUSH_INTERVAL = "OTEL_EXPORTER_STATSD_FLUSH_INTERVAL"
"""
.. envvar:: OTEL_EXPORTER_STATSD_FLUSH_INTERVAL

Milliseconds that a line waits at most for its packet to fill up.

**Default value:** ``1000``
"""

OTEL_EXPORTER_STATSD_SAMPLE_RATE = "OTEL_EXPORTER_STATSD_SAMPLE_RATE"
"""
.. envvar:: OTEL_EXPORTER_STATSD_SAMPLE_RATE

The share of timer and counter lines that is sent, above 0 and up to 1; it is written on each line
(``|@0.1``).

**Default value:** ``1``
"""

OTEL_EXPORTER_STATSD_TIMER_TYPE = "OTEL_EXPORTER_STATSD_TIMER_TYPE"
"""
.. envvar:: OTEL_EXPORTER_STATSD_TIMER_TYPE

The type of timer lines: ``ms``, ``h`` (histogram) or ``d`` (distribution). A dialect that has no ``h`` or
``d`` writes ``ms``.

**Default value:** ``ms``
"""

OTEL_EXPORTER_STATSD_MAX_NAMES = "OTEL_EXPORTER_STATSD_MAX_NAMES"
"""
.. envvar:: OTEL_EXPORTER_STATSD_MAX_NAMES

How many distinct names a process makes; further ones get the segment ``other``.

**Default value:** ``2000``
"""

OTEL_EXPORTER_STATSD_RULES = "OTEL_EXPORTER_STATSD_RULES"
"""
.. envvar:: OTEL_EXPORTER_STATSD_RULES

How spans and metrics are named: ``default``, ``phases``, ``talisker``, or the path of a TOML file.

**Default value:** ``default``
"""

OTEL_EXPORTER_STATSD_UNSAMPLED = "OTEL_EXPORTER_STATSD_UNSAMPLED"
"""
.. envvar:: OTEL_EXPORTER_STATSD_UNSAMPLED

Whether spans that are not sampled make statsd lines too.

**Default value:** ``true``
"""

STATSD_DSN = "STATSD_DSN"
"""
.. envvar:: STATSD_DSN

``udp://host:port/prefix?maxudpsize=512``: endpoint, prefix and packet size in one, where no ``OTEL_``
variable says else.
"""

STATSD_HOST = "STATSD_HOST"
"""
.. envvar:: STATSD_HOST

The host of a UDP endpoint, as other statsd clients read it, where neither of the above names one.
"""

STATSD_PORT = "STATSD_PORT"
"""
.. envvar:: STATSD_PORT

The port that goes with ``STATSD_HOST``; without one, of localhost. By itself it does not turn the exporter on.
"""

STATSD_PREFIX = "STATSD_PREFIX"
"""
.. envvar:: STATSD_PREFIX

The prefix, where neither ``OTEL_EXPORTER_STATSD_PREFIX`` nor ``STATSD_DSN`` gives one.
"""
