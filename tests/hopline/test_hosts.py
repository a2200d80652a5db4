"""Lists of host patterns."""

from __future__ import annotations

import pytest

from hopline.hosts import HostGlobs


@pytest.mark.parametrize(
    ("globs", "allowed", "denied"),
    [
        (["*"], ["a", "a.b", "::1"], []),
        (["*.internal"], ["a.internal", "a.b.internal"], ["internal", "a.internal.com"]),
        (["API.example.com"], ["api.example.com"], ["example.com", "xapi.example.com"]),
        (["*.internal.", "!secret.internal."], ["a.internal"], ["secret.internal"]),
        (["10.0.0.?"], ["10.0.0.1"], ["10.0.0.12"]),
        (["*", "!secret.*"], ["a"], ["secret.internal"]),
        (["!secret.*"], ["a"], ["secret.internal"]),
        (["a", "!a"], [], ["a"]),
        (["!*"], [], ["a"]),
        ([], [], ["a"]),
    ],
)
def test_a_list_allows_and_denies(globs, allowed, denied):
    hosts = HostGlobs(globs)

    assert [host for host in allowed if not hosts.match(host)] == []
    assert [host for host in denied if hosts.match(host)] == []


@pytest.mark.parametrize("entry", ["http://a", "a/b", "a b", "", "!", "a!", "(a)", "[a-z]"])
def test_what_is_no_pattern_is_refused(entry):
    with pytest.raises(ValueError, match="is not a host pattern"):
        HostGlobs([entry])
