"""`hopline watch` and `hopline doctor`, as processes of their own."""

from __future__ import annotations

import signal
import socket
import struct
import subprocess
import sys
import threading
from urllib.parse import urlsplit

import pytest
import requests
from opentelemetry.sdk import _configuration, environment_variables

from hopline.cli import main
from hopline.cli.otlp_receiver import OtlpReceiver
from tests.programs import environment

pytestmark = pytest.mark.processes

needs_config_files = pytest.mark.skipif(
    not hasattr(_configuration, "OTEL_CONFIG_FILE"), reason="this SDK reads no configuration file"
)
needs_log_record_limits = pytest.mark.skipif(
    not hasattr(environment_variables, "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT"),
    reason="this SDK has no limits of log records alone",
)

COMMAND = [sys.executable, "-c", "from hopline.cli import main; raise SystemExit(main())"]


def doctor(**settings):
    return subprocess.run(
        [*COMMAND, "doctor"], env=environment(**settings), capture_output=True, text=True, timeout=60, check=False
    )


def configured_by(directory, loading):
    """A configuration file, and a stand-in for the package that loads it."""
    package = directory / "opentelemetry" / "configuration.py"
    package.parent.mkdir()
    package.write_text(f"class ConfigurationError(Exception): ...\ndef load_config_file(name): {loading}")
    file = directory / "otel.yaml"
    file.touch()
    return file


def test_watch_shows_what_arrives_as_a_table(unused_port):
    endpoint = f"udp://127.0.0.1:{unused_port}"
    command = [*COMMAND, "watch", "--endpoint", endpoint, "--interval", "0.1"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        assert watching.stdout.readline().split() == [
            "listening",
            "at",
            endpoint,
            *["count", "rate", "mean", "p50", "p90", "p99", "max"],
        ]
        client.sendto(b"a.b:10|ms\na.b:30|ms\nnot statsd", ("127.0.0.1", unused_port))
        row = next(line for line in watching.stdout if line.startswith("a.b ms"))
        bad = next(line for line in watching.stdout if "no statsd" in line)
        watching.send_signal(signal.SIGINT)
        watching.communicate(timeout=20)

    count, _, mean, *_, most = row.split()[2:]
    assert (count, mean, most) == ("2", "20", "30")
    assert bad == "1 lines were no statsd lines\n"
    assert watching.returncode == 0


def test_watch_shows_numbers_that_are_too_long_with_their_exponents(unused_port):
    command = [*COMMAND, "watch", "--endpoint", f"udp://127.0.0.1:{unused_port}", "--interval", "0.1"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        watching.stdout.readline()
        client.sendto(
            b"a:1234567890|g\nb:12345678901|g\nc:0.0000123456789|g\nd:1.23456789012|g", ("127.0.0.1", unused_port)
        )
        rows = [next(line for line in watching.stdout if line.startswith(f"{name} g")).split() for name in "abcd"]
        watching.send_signal(signal.SIGINT)
        watching.communicate(timeout=20)

    means = [row[4] for row in rows]
    assert means == ["1234567890", "1.2346e+10", "1.2346e-05", "1.23456789"]


@pytest.mark.parametrize("command", [["doctor"], ["watch", "--endpoint", "udp://127.0.0.1:0", "--interval", "0.1"]])
def test_a_command_whose_reader_has_had_enough_ends_without_a_word(command):
    with subprocess.Popen(
        [*COMMAND, *command], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        running.stdout.close()
        _, said = running.communicate(timeout=60)

    assert said == ""
    assert running.returncode == 141


@pytest.mark.parametrize("interval", ["0", "-1", "nan", "inf", "soon"])
def test_watch_takes_no_interval_that_is_none(interval, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["watch", "--interval", interval])

    assert "argument --interval" in capsys.readouterr().err


def test_watch_says_where_it_cannot_listen(capsys):
    assert main(["watch", "--endpoint", "udp://nowhere.invalid:1"]) == 2

    assert "hopline watch: cannot listen at udp://nowhere.invalid:1" in capsys.readouterr().err


def test_doctor_shows_what_an_application_would_get():
    with OtlpReceiver() as otlp:
        finished = doctor(
            OTEL_EXPORTER_OTLP_ENDPOINT=otlp.url,
            OTEL_EXPORTER_STATSD_ENDPOINT="udp://127.0.0.1:8125",
            OTEL_SERVICE_NAME="shop",
        )

    assert finished.returncode == 0, finished.stdout
    assert "traces go to          otlp over http, statsd\n" in finished.stdout
    assert f"{otlp.url}/v1/traces\n" in finished.stdout
    assert "udp://127.0.0.1:8125, prefix shop, dialect plain\n" in finished.stdout
    assert "X-Request-Id" in finished.stdout
    assert "instruments requests          yes\n" in finished.stdout


def test_doctor_shows_the_prefix_that_lines_are_sent_with():
    finished = doctor(
        OTEL_TRACES_EXPORTER="statsd",
        OTEL_METRICS_EXPORTER="none",
        OTEL_EXPORTER_STATSD_ENDPOINT="udp://127.0.0.1:8125",
        OTEL_SERVICE_NAME="",
        OTEL_RESOURCE_ATTRIBUTES="service.name=shop.example",
    )

    assert "udp://127.0.0.1:8125, prefix shop-example, dialect plain\n" in finished.stdout


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"OTEL_SDK_DISABLED": "true"}, "nothing is instrumented"),
        ({"OTEL_TRACES_EXPORTER": "nowhere"}, "'nowhere', which is not installed"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
            "cannot be connected to",
        ),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://["}, "cannot be connected to"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:4318"}, "it is no URL such as"),
        ({"OTEL_EXPORTER_STATSD_ENDPOINT": "udp://nowhere.invalid"}, "udp://nowhere.invalid:8125 cannot be connected"),
        ({"OTEL_EXPORTER_STATSD_ENDPOINT": "tcp://127.0.0.1:1"}, "tcp://127.0.0.1:1 cannot be connected to"),
        ({"OTEL_EXPORTER_STATSD_ENDPOINT": "unix:///no/socket"}, "unix:///no/socket cannot be connected to"),
        ({"OTEL_EXPORTER_STATSD_ENDPOINT": "pigeon://loft"}, "OTEL_EXPORTER_STATSD_ENDPOINT='pigeon://loft'"),
        ({"OTEL_PYTHON_HOPLINE_URL_TEMPLATES": "zzz"}, "OTEL_PYTHON_HOPLINE_URL_TEMPLATES='zzz' is not usable"),
        ({"OTEL_PYTHON_LOG_FORMAT": "%"}, "OTEL_PYTHON_LOG_FORMAT='%' is not usable"),
        ({"OTEL_PYTHON_LOG_LEVEL": "loud"}, "using 'INFO' instead"),
        ({"OTEL_PYTHON_WSGI_EXCLUDED_URLS": "("}, "OTEL_PYTHON_WSGI_EXCLUDED_URLS='(' is not usable"),
        (
            {"OTEL_TRACES_EXPORTER": "console", "OTEL_BSP_MAX_QUEUE_SIZE": "10"},
            "OTEL_BSP_*: nothing is instrumented and nothing exported",
        ),
        (
            {"OTEL_TRACES_EXPORTER": "console", "OTEL_BSP_MAX_QUEUE_SIZE": "many"},
            "Unable to parse value for OTEL_BSP_MAX_QUEUE_SIZE",
        ),
        (
            {"OTEL_LOGS_EXPORTER": "console", "OTEL_BLRP_MAX_QUEUE_SIZE": "10"},
            "OTEL_BLRP_*: nothing is instrumented and nothing exported",
        ),
        ({"OTEL_METRICS_EXPORTER": "console", "OTEL_METRIC_EXPORT_INTERVAL": "0"}, "(interval value 0.0 is invalid"),
        ({"OTEL_METRICS_EXPORTER": "console", "OTEL_METRIC_EXPORT_INTERVAL": "x"}, "invalid value for export interval"),
        ({"OTEL_TRACES_SAMPLER": "some"}, "Failed to initialize sampler, some"),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"}, "must be in range [0.0, 1.0]"),
        ({"OTEL_PYTHON_ID_GENERATOR": "dice"}, "OTEL_PYTHON_ID_GENERATOR: nothing is instrumented"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "prod"}, "Invalid key value resource attribute pair prod"),
        ({"OTEL_METRICS_EXEMPLAR_FILTER": "best"}, "nothing exported (Unknown exemplar filter 'best'.)"),
        ({"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "few"}, "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT must be a non-negative integer"),
        pytest.param(
            {"OTEL_LOGS_EXPORTER": "console", "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT": "few"},
            "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT must be a non-negative integer",
            marks=needs_log_record_limits,
        ),
        ({"OTEL_SPAN_EVENT_COUNT_LIMIT": "few"}, "OTEL_SPAN_EVENT_COUNT_LIMIT must be a non-negative integer"),
        ({"OTEL_PROPAGATORS": "baggage,nonsense"}, "does not start the application (Propagator nonsense"),
        ({"OTEL_PYTHON_DISTRO": "distro"}, "OTEL_PYTHON_DISTRO='distro' leaves hopline's own out"),
        ({"OTEL_PYTHON_CONFIGURATOR": ""}, "OTEL_PYTHON_CONFIGURATOR='' leaves hopline's own out"),
    ],
)
def test_doctor_names_what_stands_in_the_way(settings, problem):
    defaults = {"OTEL_TRACES_EXPORTER": "statsd" if "OTEL_EXPORTER_STATSD_ENDPOINT" in settings else "none"}

    finished = doctor(**{**defaults, **settings})

    assert finished.returncode == 1
    (line,) = [line for line in finished.stdout.splitlines() if line.startswith("!")]
    assert problem in line


def test_doctor_tells_what_otlp_exporters_make_of_their_settings():
    with OtlpReceiver() as otlp:
        finished = doctor(
            OTEL_TRACES_EXPORTER="otlp",
            OTEL_METRICS_EXPORTER="otlp",
            OTEL_EXPORTER_OTLP_ENDPOINT=otlp.url,
            OTEL_EXPORTER_OTLP_HEADERS="secret",
        )

    assert finished.returncode == 1
    assert finished.stdout.count("! Header format invalid!") == 1


def test_doctor_takes_an_empty_endpoint_for_none():
    finished = doctor(OTEL_TRACES_EXPORTER="otlp", OTEL_EXPORTER_OTLP_ENDPOINT="")

    assert "http://localhost:4318/v1/traces\n" in finished.stdout


@pytest.mark.parametrize(
    ("disabled", "answers"),
    [("celery , requests", {"asgi": "yes", "requests": "no"}), ("*", {"asgi": "no", "requests": "no"})],
)
def test_doctor_tells_which_instrumentors_are_disabled(disabled, answers):
    finished = doctor(OTEL_TRACES_EXPORTER="none", OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=disabled)

    words = {"yes": "yes", "no": "no, disabled by OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"}
    for name, answer in answers.items():
        assert f"{'instruments ' + name:30}{words[answer]}\n" in finished.stdout


@needs_config_files
def test_doctor_says_that_a_configuration_file_decides(tmp_path):
    file = configured_by(tmp_path, "pass")

    finished = doctor(
        OTEL_CONFIG_FILE=str(file), OTEL_EXPORTER_STATSD_ENDPOINT="udp://127.0.0.1:8125", PYTHONPATH=str(tmp_path)
    )

    assert finished.returncode == 0, finished.stdout
    assert f"traces go to          where {file} says, statsd\n" in finished.stdout
    assert f"metrics go to         where {file} says\n" in finished.stdout
    assert f"propagated headers    as {file} says\n" in finished.stdout


@needs_config_files
def test_doctor_names_a_configuration_file_that_cannot_be_read(tmp_path):
    file = configured_by(tmp_path, "raise ConfigurationError('no mapping')")

    finished = doctor(OTEL_CONFIG_FILE=str(file), PYTHONPATH=str(tmp_path))

    assert finished.returncode == 1
    assert f"! OTEL_CONFIG_FILE='{file}': nothing is instrumented and nothing exported (no mapping)" in finished.stdout


@needs_config_files
def test_doctor_names_a_configuration_file_that_is_not_there():
    finished = doctor(OTEL_CONFIG_FILE="missing.yaml")

    assert finished.returncode == 1
    assert "! OTEL_CONFIG_FILE='missing.yaml': nothing is instrumented" in finished.stdout


def test_doctor_does_not_ask_what_the_settings_of_a_disabled_instrumentor_say():
    finished = doctor(
        OTEL_TRACES_EXPORTER="none",
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="wsgi",
        OTEL_PYTHON_WSGI_EXCLUDED_URLS="(",
    )

    assert finished.returncode == 0, finished.stdout


@pytest.mark.parametrize(
    "settings",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:secret@127.0.0.1:1"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:secret/more@127.0.0.1:1"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "user:secret@127.0.0.1:1"},
        {"OTEL_EXPORTER_STATSD_ENDPOINT": "udp://user:secret@127.0.0.1:http"},
    ],
)
def test_doctor_shows_no_password(settings):
    finished = doctor(**settings)

    assert "127.0.0.1:" in finished.stdout
    assert "secret" not in finished.stdout + finished.stderr


def test_doctor_names_another_distribution(monkeypatch, capsys):
    from importlib.metadata import EntryPoint, entry_points

    from hopline.cli import doctor

    (theirs,) = entry_points(group="opentelemetry_instrumentor", name="urllib3")
    rival = EntryPoint("rival", "rival:Distro", "opentelemetry_distro")._for(theirs.dist)
    everything = entry_points
    monkeypatch.setattr(
        doctor, "entry_points", lambda group: [rival] if group == "opentelemetry_distro" else everything(group=group)
    )
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")

    assert main(["doctor"]) == 1
    assert "brings opentelemetry_distro 'rival' too; set OTEL_PYTHON_DISTRO=hopline" in capsys.readouterr().out


def test_watch_says_that_somebody_else_listens(capsys):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))

        assert main(["watch", "--endpoint", f"udp://127.0.0.1:{other.getsockname()[1]}"]) == 2

    assert "Address already in use" in capsys.readouterr().err


def test_the_receiver_is_silent_about_an_exporter_that_is_gone_before_its_answer(capfd):
    with OtlpReceiver() as receiver:
        with socket.create_connection(("127.0.0.1", urlsplit(receiver.url).port)) as exporter:
            exporter.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closed by a reset
            exporter.sendall(b"POST /v1/traces HTTP/1.1\r\nContent-Length: 10\r\n\r\n")
        requests.post(f"{receiver.url}/v1/traces", data=b"", timeout=10)  # which is accepted after it
        for thread in threading.enumerate():
            if "process_request_thread" in thread.name:
                thread.join()

    assert capfd.readouterr().err == ""
