"""What is known of an origin, and how many are kept."""

from __future__ import annotations

import pytest

from hopline import destinations
from hopline.destinations import DestinationRules, Destinations, UrlTemplate
from hopline.hosts import host_names, register_host_name


@pytest.fixture
def of():
    return Destinations(DestinationRules()).of


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port"),
    [
        ("http://example.com/path", "http", "example.com", 80),
        ("https://example.com", "https", "example.com", 443),
        ("https://Example.COM:8443/", "https", "example.com", 8443),
        ("HTTP://example.com/", "http", "example.com", 80),
        ("http://me:secret@example.com:81/", "http", "example.com", 81),
        ("http://[::1]:8080/", "http", "::1", 8080),
        ("http://api.internal./a", "http", "api.internal", 80),
        ("http://api.internal.:8080/a", "http", "api.internal", 8080),
        ("http://example.com?q=/", "http", "example.com", 80),
        ("ws://example.com/", "ws", "example.com", 80),
        ("wss://example.com/", "wss", "example.com", 443),
        ("mock://anything/", "mock", "anything", None),
        ("http://example.com:99999/", "http", "", 80),
        ("http://[broken/", "http", "", 80),
        ("https://[broken/", "https", "", 443),
        ("no url at all", "", "", None),
        ("", "", "", None),
    ],
)
def test_an_origin_has_a_scheme_a_host_and_a_port(of, url, scheme, host, port):
    destination = of(url)

    assert (destination.scheme, destination.host, destination.port) == (scheme, host, port)


def test_one_origin_is_one_destination(of):
    assert of("http://example.com/a") is of("http://example.com/b?c")
    assert of("http://me:secret@example.com/") is of("http://you:other@example.com/")
    assert of("http://example.com/") is not of("https://example.com/")


def test_a_name_that_a_host_gets_while_it_is_first_met_is_told_from_the_next_time_on(monkeypatch):
    met, make = Destinations(DestinationRules()), destinations.Destination.__init__

    def make_while_it_is_named(self, *arguments):
        make(self, *arguments)
        monkeypatch.undo()
        register_host_name("10.0.0.7", "billing")
        met.of("http://example.com/")  # another thread's, which sees that there are new names

    monkeypatch.setattr(destinations.Destination, "__init__", make_while_it_is_named)
    met.of("http://10.0.0.7/")

    assert met.of("http://10.0.0.7/").name == "billing"


def test_credentials_and_queries_are_not_kept():
    destinations = Destinations(DestinationRules())
    destinations.of("http://me:secret@example.com/")
    destinations.of("http://example.com?token=secret")

    assert list(destinations._by_origin) == ["http://example.com"]


def test_only_so_many_origins_are_kept_and_the_oldest_go(monkeypatch):
    monkeypatch.setattr(destinations, "_MAX_ORIGINS", 3)
    of = Destinations(DestinationRules()).of
    first, last = of("http://h0/"), [of(f"http://h{n}/") for n in range(1, 5)][-1]

    assert of("http://h4/") is last
    assert of("http://h0/") is not first


@pytest.mark.parametrize("rule", ["no-path", "http://host/path", "a host/path", ""])
def test_a_rule_is_a_host_pattern_and_a_path(rule):
    with pytest.raises(ValueError, match=r"is not a"):
        UrlTemplate(rule)


@pytest.mark.parametrize(
    ("rule", "path", "matches"),
    [
        ("h/a/{x}", "/a/b", True),
        ("h/a/{x}", "/a/", False),
        ("h/a/{x}", "/a/b/c", False),
        ("h/a.b/{x}-{y}", "/a.b/1-2", True),
        ("h/a.b/{x}", "/aXb/1", False),
        ("/a", "/a", True),
        ("h/", "/", True),
    ],
)
def test_a_rule_matches_whole_paths(rule, path, matches):
    assert UrlTemplate(rule).match(path) is matches


@pytest.mark.parametrize("url", ["http://h/a/17?b", "ws://h/a/17", "http+unix://socket/a/17", "https://h/a/17#b"])
def test_a_rule_names_a_url_of_any_scheme(url):
    of = Destinations(DestinationRules(templates=(UrlTemplate("*/a/{x}"),))).of

    assert of(url).template(url) == "/a/{x}"


@pytest.mark.parametrize("written", ["api.internal:8000", "API.internal.:8000", "api.internal", "api.internal."])
def test_a_host_has_its_name_with_and_without_the_dot_at_its_end(of, written, monkeypatch):
    monkeypatch.setattr(host_names, "_names", {})
    register_host_name(written, "billing")

    assert [of(f"http://{host}:8000/").name for host in ("api.internal", "api.internal.")] == ["billing", "billing"]
