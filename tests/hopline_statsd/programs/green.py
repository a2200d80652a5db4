"""Sends lines from a process whose standard library is gevent's or eventlet's."""

import sys

if sys.argv[1] == "gevent":
    from gevent import monkey

    monkey.patch_all()
else:
    import eventlet

    eventlet.monkey_patch()

import time

from hopline_statsd import StatsdClient

client = StatsdClient()
client.increment("quiet")
deadline = time.monotonic() + 30
while not client.stats().lines:  # the flusher, a greenlet now, sends it
    assert time.monotonic() < deadline
    time.sleep(0.01)
for number in range(5000):
    client.timing("t", number)
assert client.flush()
client.increment("last")
