import logging

import pytest

from hopline_statsd import StatsdConfig
from hopline_statsd.endpoint import Endpoint
from hopline_statsd.rulesets import DEFAULT, TALISKER


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("udp://statsd:9125", Endpoint("udp", "statsd", 9125)),
        ("udp://statsd", Endpoint("udp", "statsd", 8125)),
        ("udp://statsd:9125/", Endpoint("udp", "statsd", 9125)),
        ("unix:9125", Endpoint("udp", "unix", 9125)),
        ("statsd:9125", Endpoint("udp", "statsd", 9125)),
        ("udp6://[::1]:9125", Endpoint("udp6", "::1", 9125)),
        ("tcp://10.0.0.1:9125", Endpoint("tcp", "10.0.0.1", 9125)),
        ("unix:///run/statsd.sock", Endpoint("unix", "", 0, "/run/statsd.sock")),
        ("unixstream:///run/statsd.sock", Endpoint("unixstream", "", 0, "/run/statsd.sock")),
    ],
)
def test_an_endpoint_url_says_socket_and_address(url, endpoint):
    assert Endpoint.parse(url) == endpoint


@pytest.mark.parametrize("url", ["udp://statsd:9125", "udp6://[::1]:9125", "unix:///run/statsd.sock", "tcp://statsd:1"])
def test_an_endpoint_is_written_as_it_is_read(url):
    assert str(Endpoint.parse(url)) == url


@pytest.mark.parametrize(
    ("variable", "value", "reason", "used"),
    [
        (
            "OTEL_EXPORTER_STATSD_ENDPOINT",
            "http://statsd:8125",
            "the scheme is none of",
            "udp://localhost:8125",
        ),
        ("OTEL_EXPORTER_STATSD_ENDPOINT", "udp://statsd:http", "the port is not", "udp://localhost:8125"),
        ("OTEL_EXPORTER_STATSD_ENDPOINT", "udp://statsd:0", "the port is not", "udp://localhost:8125"),
        ("OTEL_EXPORTER_STATSD_ENDPOINT", "udp://:8125", "there is no host", "udp://localhost:8125"),
        ("OTEL_EXPORTER_STATSD_ENDPOINT", "udp://a b:8125", "there is no host", "udp://localhost:8125"),
        ("OTEL_EXPORTER_STATSD_ENDPOINT", "udp://[::1:8125", "Invalid IPv6 URL", "udp://localhost:8125"),
        ("OTEL_EXPORTER_STATSD_ENDPOINT", "unix://run", "unix:///absolute/path", "udp://localhost:8125"),
        ("OTEL_EXPORTER_STATSD_ENDPOINT", "unix:run", "unix:///absolute/path", "udp://localhost:8125"),
        ("OTEL_EXPORTER_STATSD_ENDPOINT", "unix:/run/s", "it is written unix:///run/s", "udp://localhost:8125"),
        ("OTEL_EXPORTER_STATSD_ENDPOINT", "unix:///run/s?x", "'?x' after the path says", "udp://localhost:8125"),
        ("OTEL_EXPORTER_STATSD_ENDPOINT", "udp:statsd:1", "it is written udp://statsd:1", "udp://localhost:8125"),
        ("OTEL_EXPORTER_STATSD_ENDPOINT", "udp:statsd", "it is written udp://statsd", "udp://localhost:8125"),
        ("OTEL_EXPORTER_STATSD_ENDPOINT", "udp://unix:/run/s", "the port is not", "udp://localhost:8125"),
        ("OTEL_EXPORTER_STATSD_ENDPOINT", "udp://statsd:", "the port is not", "udp://localhost:8125"),
        ("OTEL_EXPORTER_STATSD_ENDPOINT", "statsd:1/shop", "'/shop' after host and port", "udp://localhost:8125"),
        ("OTEL_EXPORTER_STATSD_ENDPOINT", "udp://h:1?a=b#c", "'?a=b#c' after host and port", "udp://localhost:8125"),
        ("OTEL_EXPORTER_STATSD_PREFIX", "...", "it holds no name", "the service name"),
        ("OTEL_EXPORTER_STATSD_PREFIX", "x" * 500, "longer than 400", "the service name"),
        ("OTEL_EXPORTER_STATSD_DIALECT", "carbon", "it is none of plain, dogstatsd", "plain"),
        ("OTEL_EXPORTER_STATSD_MAX_PACKET_SIZE", "big", "it is no whole number", "1432"),
        ("OTEL_EXPORTER_STATSD_MAX_PACKET_SIZE", "8", "not between 64 and 65,507", "1432"),
        ("OTEL_EXPORTER_STATSD_MAX_BUFFER_SIZE", "1", "not between", "1048576"),
        ("OTEL_EXPORTER_STATSD_FLUSH_INTERVAL", "soon", "it is no number", "1000"),
        ("OTEL_EXPORTER_STATSD_FLUSH_INTERVAL", "0", "not between 10 and 3,600,000 milliseconds", "1000"),
        ("OTEL_EXPORTER_STATSD_SAMPLE_RATE", "10", "not above 0 and up to 1", "1.0"),
        ("OTEL_EXPORTER_STATSD_SAMPLE_RATE", "nan", "not above 0 and up to 1", "1.0"),
        ("OTEL_EXPORTER_STATSD_TIMER_TYPE", "s", "it is none of ms, h, d", "ms"),
        ("OTEL_EXPORTER_STATSD_MAX_NAMES", "1e3", "it is no whole number", "2000"),
        ("OTEL_EXPORTER_STATSD_RULES", "/no/such.toml", "cannot be read", "default"),
        ("OTEL_EXPORTER_STATSD_UNSAMPLED", "maybe", "it is neither true nor false", "true"),
        ("STATSD_HOST", "a b", "there is no host", "udp://localhost:8125"),
        ("STATSD_DSN", "statsd", "the scheme is none of", "udp://localhost:8125"),
        ("STATSD_DSN", "ftp://statsd", "the scheme is none of", "udp://localhost:8125"),
        ("STATSD_DSN", "udp://[::1", "Invalid IPv6 URL", "udp://localhost:8125"),
        ("STATSD_PORT", "http", "the port is not", "udp://localhost:8125"),
        ("STATSD_DSN", "udp://statsd:/shop", "the port is not", "udp://localhost:8125"),
        ("STATSD_DSN", "udp://statsd?maxudpsize=x", "it is no whole number", "1432"),
    ],
)
def test_a_wrong_variable_makes_one_warning_and_the_default_is_used(caplog, variable, value, reason, used):
    with caplog.at_level(logging.WARNING):
        config = StatsdConfig.from_environment({variable: value})

    (record,) = caplog.records
    written = f"{variable}={value!r} is not used"
    assert all(part in record.getMessage() for part in (written, reason, f"used instead: {used}"))
    assert config.dialect == "plain"
    assert config.packet_size == 1432


def test_a_wrong_port_is_named_and_the_host_is_used_with_the_default_port(caplog):
    config = StatsdConfig.from_environment({"STATSD_HOST": "statsd", "STATSD_PORT": "http"})

    (record,) = caplog.records
    assert record.getMessage() == (
        "STATSD_PORT='http' is not used, the port is not between 1 and 65535; used instead: udp://statsd:8125"
    )
    assert config.endpoint == "udp://statsd:8125"


def test_what_is_wrong_is_said_once_however_many_exporters_read_it(caplog):
    for _ in range(3):
        StatsdConfig.from_environment({"OTEL_EXPORTER_STATSD_DIALECT": "klingon"})

    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, StatsdConfig()),
        (
            {"OTEL_EXPORTER_STATSD_ENDPOINT": "tcp://a:1", "OTEL_EXPORTER_STATSD_PREFIX": "my.prefix."},
            StatsdConfig(endpoint="tcp://a:1", prefix="my.prefix"),
        ),
        (
            {"OTEL_EXPORTER_STATSD_FLUSH_INTERVAL": "250", "OTEL_EXPORTER_STATSD_SAMPLE_RATE": "0.1"},
            StatsdConfig(flush_interval=0.25, sample_rate=0.1),
        ),
        (
            {"OTEL_EXPORTER_STATSD_DIALECT": "DogStatsD", "OTEL_EXPORTER_STATSD_TIMER_TYPE": "D"},
            StatsdConfig(dialect="dogstatsd", timer_type="d"),
        ),
        (
            {"OTEL_EXPORTER_STATSD_MAX_NAMES": "50", "OTEL_EXPORTER_STATSD_UNSAMPLED": "False"},
            StatsdConfig(max_names=50, unsampled=False),
        ),
        ({"OTEL_EXPORTER_STATSD_RULES": "talisker"}, StatsdConfig(rules=TALISKER)),
        (
            {"STATSD_DSN": "udp://statsd:9125/my/shop?maxudpsize=512"},
            StatsdConfig(endpoint="udp://statsd:9125", prefix="my.shop", max_packet_size=512),
        ),
        ({"STATSD_DSN": "unix:///run/s.sock"}, StatsdConfig(endpoint="unix:///run/s.sock")),
        (
            {"STATSD_HOST": "statsd", "STATSD_PORT": "9125", "STATSD_PREFIX": "shop"},
            StatsdConfig(endpoint="udp://statsd:9125", prefix="shop"),
        ),
        ({"STATSD_PORT": "9125"}, StatsdConfig(endpoint="udp://localhost:9125")),
        ({"STATSD_DSN": "udp://statsd", "STATSD_PORT": "9125"}, StatsdConfig(endpoint="udp://statsd:8125")),
        ({"STATSD_HOST": "statsd:9125"}, StatsdConfig(endpoint="udp://statsd:9125")),
        ({"STATSD_HOST": "::1"}, StatsdConfig(endpoint="udp://[::1]:8125")),
        (
            {
                "OTEL_EXPORTER_STATSD_ENDPOINT": "udp://a:1",
                "STATSD_DSN": "udp://b:2/b",
                "STATSD_HOST": "c",
                "STATSD_PREFIX": "c",
            },
            StatsdConfig(endpoint="udp://a:1", prefix="b"),
        ),
    ],
)
def test_the_environment_is_read(environ, expected):
    assert StatsdConfig.from_environment(environ) == expected


@pytest.mark.parametrize(
    ("endpoint", "size"), [("udp://a", 1432), ("udp6://a", 1432), ("unix:///a", 8192), ("tcp://a", 8192)]
)
def test_the_packet_size_fits_the_transport(endpoint, size):
    assert StatsdConfig(endpoint=endpoint).packet_size == size


def test_a_wrong_keyword_argument_raises():
    with pytest.raises(ValueError, match="sample_rate=2"):
        StatsdConfig(sample_rate=2)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("endpoint", None),
        ("prefix", 1),
        ("dialect", None),
        ("max_packet_size", 512.0),
        ("max_buffer_size", None),
        ("flush_interval", "1"),
        ("sample_rate", None),
        ("max_names", "50"),
        ("rules", "talisker"),
        ("unsampled", "false"),
    ],
)
def test_a_keyword_argument_of_the_wrong_type_is_named(field, value):
    with pytest.raises(ValueError, match=f"{field}={value!r}: "):
        StatsdConfig(**{field: value})


def test_the_default_rules_are_the_default():
    assert StatsdConfig().rules is DEFAULT
