"""The tables of docs/requests.md name all that is told, and nothing else."""

from __future__ import annotations

import re
import threading

import pytest
from requests.adapters import HTTPAdapter

import hopline
from hopline.hosts import host_names
from tests.loopback import Answer
from tests.servers import REPOSITORY

MANUAL = (REPOSITORY / "docs" / "requests.md").read_text()
DOCUMENTED = {
    name
    for row in re.findall(r"^\| (`.*?) \|", MANUAL, re.MULTILINE)
    for name in re.findall(r"`([^`]+)`", row)
    if not name.endswith("<name>")
}
# Told only of a method that is not known, in whose row it is named.
DOCUMENTED |= {"http.request.method_original"}


@pytest.fixture
def everything(instrument, telemetry, server, tls_server, session, bundle):
    """Requests of which each attribute and each metric is told somewhere."""
    hopline.register_host_name(f"localhost:{server.port}", "billing")
    instrument(body_sizes=True, url_templates=["*/users/{id}"])
    entered, leave = threading.Event(), threading.Event()
    slow = server.answer("/slow", Answer(before=lambda: (entered.set(), leave.wait(10))))
    session.mount("http://", HTTPAdapter(pool_maxsize=1, pool_block=True))
    waited_for = threading.Thread(target=session.get, args=(slow,))
    waited_for.start()
    entered.wait(10)
    assert telemetry.metric_names  # what is active now is told from now on, as 0 in the end
    threading.Timer(0.05, leave.set).start()
    session.post(f"{server.url}/users/17", data="x")
    waited_for.join()
    session.request("PURGE", f"http://localhost:{server.port}/")
    session.get(server.redirect("/a", "/b"))
    session.get(server.answer("/missing", Answer(404)), stream=True).content  # noqa: B018
    session.get(tls_server.url, verify=bundle)
    session.close()
    yield telemetry
    host_names._names.clear()
    host_names.version += 1


def test_every_attribute_and_metric_is_documented_and_every_documented_one_is_told(everything):
    attributes = {name for span in everything.spans for name in span.attributes}

    assert attributes | everything.metric_names == DOCUMENTED
