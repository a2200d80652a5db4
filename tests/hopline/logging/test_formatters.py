import datetime
import enum
import json
import logging
import logging.config
import re

import pytest

from hopline import Context
from hopline.context import begin
from hopline.logging import JsonFormatter, LogfmtFormatter

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
# What ends a line for one reader or another, ends a value, or does things to a terminal.
BREAKING = [
    'x" level=error admin="true',
    "x level=error",
    "x\nlevel=error",
    "x\r\nlevel=error",
    "x\x0blevel=error",
    "x\x85level=error",
    "x\u2028level=error",
    "x\\",
    'x\\"',
    "x=y",
    "\x1b[2J\x1b[31m",
    "x\x00y",
    "\u202elevel=error",
    '{"level":"error"}',
    "%(levelname)s {levelname} $levelname",
]


class Unprintable:
    def __str__(self):
        raise RuntimeError("no")


class Colour(str, enum.Enum):
    RED = "red"


class Lost(list):
    def __iter__(self):
        raise ConnectionError("lost")


class Proxy:
    """Stands for what a function returns, as Django's lazy objects and Celery's proxies do."""

    def __init__(self, target):
        self.target = target

    @property
    def __class__(self):
        return type(self.target())

    def __str__(self):
        return str(self.target())

    def __lt__(self, other):
        return self.target() < other

    def keys(self):
        return self.target().keys()

    def __getitem__(self, key):
        return self.target()[key]


def down():
    raise ConnectionError("the database is down")


def cyclic():
    value = {"key": []}
    value["key"].append(value)
    return value


def pairs(line):
    """Reads a line of logfmt, strictly."""
    pair = re.compile(r'([^\s"=\\]+)=("(?:[^"\\]|\\.)*"|[^\s"=\\]+)(?: |$)')
    found, position = {}, 0
    while position < len(line):
        match = pair.match(line, position)
        assert match is not None, line[position:]
        key, value = match.groups()
        assert key not in found
        found[key] = json.loads(value) if value.startswith('"') else value
        position = match.end()
    return found


def json_of(line):
    def refuse(constant):
        raise AssertionError(constant)

    return json.loads(line, parse_constant=refuse)


@pytest.fixture(params=[(LogfmtFormatter, pairs), (JsonFormatter, json_of)], ids=["logfmt", "json"])
def form(request):
    return request.param


@pytest.fixture
def read(form, lines):
    """What the one line that was written says."""

    def read():
        (line,) = lines.read().splitlines()
        return form[1](line)

    return read


@pytest.fixture
def log(form, lines):
    return lines.formatted(form[0]())


class TestBoth:
    def test_a_line_tells_the_time_the_level_the_logger_and_the_message(self, log, read):
        log.warning("hello %s", "world")

        line = read()
        assert TIME.fullmatch(line.pop("time"))
        assert line == {"level": "warning", "logger": "lines", "message": "hello world"}

    @pytest.mark.usefixtures("instrumented")
    def test_a_line_tells_the_service_and_the_ids(self, log, read, tracer):
        with begin("abc"), tracer.start_as_current_span("span") as span:
            log.info("hello")

        line, context = read(), span.get_span_context()
        assert [line[name] for name in ("service", "request_id", "trace_id", "span_id", "trace_flags")] == [
            "shop",
            "abc",
            f"{context.trace_id:032x}",
            f"{context.span_id:016x}",
            "01",
        ]

    def test_the_ids_are_there_where_logging_is_not_instrumented(self, log, read):
        with begin("abc"):
            log.info("hello")

        assert read()["request_id"] == "abc"

    def test_a_line_tells_the_extras(self, log, read):
        with Context.logging(user="ada"):
            log.info("hello", extra={"cart": "c1"})

        line = read()
        assert (line["user"], line["cart"]) == ("ada", "c1")

    def test_an_extra_with_a_name_of_the_line_gets_an_underscore(self, log, read):
        log.info("hello", extra={"level": "high"})

        line = read()
        assert (line["level"], line["level_"]) == ("info", "high")

    def test_an_exception_is_told_on_the_same_line(self, log, read):
        try:
            raise KeyError("k")
        except KeyError:
            log.exception("failed")

        assert read()["exception"].endswith("KeyError: 'k'")

    def test_a_stack_is_told_on_the_same_line(self, log, read):
        log.info("hello", stack_info=True)

        assert read()["stack"].startswith("Stack (most recent call last):")

    @pytest.mark.parametrize("value", BREAKING)
    def test_no_value_breaks_out(self, value, log, read):
        log.info(value, extra={"extra": value})

        line = read()
        assert (line["level"], line["message"], line["extra"]) == ("info", value, value)
        assert len(line) == 5

    @pytest.mark.parametrize("value", BREAKING)
    def test_no_value_sends_a_control_character(self, value, log, lines):
        log.info(value)

        assert lines.read()[:-1].isprintable()

    @pytest.mark.parametrize("name", ["a b", "a=b", 'a"b', "a\nlevel", "é", "", "\x1b[31m"])
    def test_no_key_breaks_out(self, name, log, read):
        log.info("hello", extra={name: "x"})

        line = read()
        assert (line["level"], list(line.values())[-1]) == ("info", "x")
        assert len(line) == 5

    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            (Unprintable(), "<Unprintable that cannot be shown: RuntimeError>"),
            (datetime.date(2030, 1, 31), "2030-01-31"),
            (b"\xffx", "\\xffx"),
            ("\udcff", "\\udcff"),
            (Colour.RED, "red"),
            (float("nan"), "nan"),
            (float("-inf"), "-inf"),
            (1 << 64, str(1 << 64)),
            pytest.param(10**5000, "<int that cannot be shown: ValueError>", id="too long an integer"),
        ],
    )
    def test_a_value_that_json_does_not_have_is_text(self, value, shown, log, read):
        log.info("hello", extra={"value": value})

        assert read()["value"] == shown

    @pytest.mark.parametrize(
        ("make", "shown"),
        [
            (lambda: Proxy(down), "<Proxy that cannot be shown: ConnectionError>"),
            (lambda: Proxy(lambda: "ada"), "ada"),
            (lambda: Proxy(lambda: 17), "17"),
            (lambda: Lost([1]), "<Lost that cannot be shown: ConnectionError>"),
        ],
        ids=["a proxy of nothing", "a proxy of a text", "a proxy of a number", "a list that cannot be read"],
    )
    def test_a_value_that_may_raise_when_it_is_looked_at_is_text(self, make, shown, log, read):
        log.info("hello", extra={"value": make()})

        assert str(read()["value"]) == shown

    def test_what_is_nested_in_itself_ends(self, log, read):
        log.info("hello", extra={"value": cyclic()})

        assert "{...}" in str(read()["value"])

    def test_a_tree_whose_nodes_know_the_whole_is_written_once(self, log, lines):
        tree = {"children": []}
        tree["children"] += [{"name": "child", "parent": tree} for _ in range(40)]

        log.info("hello", extra={"tree": tree})

        assert lines.read().count("child") == 1 + 40

    def test_things_that_all_know_each_other_end(self, log, lines):
        things = [{} for _ in range(40)]
        for thing in things:
            thing.update((str(n), each) for n, each in enumerate(things))

        log.info("hello", extra={"things": things})

        assert "{...}" in lines.read()

    def test_a_date_format_of_the_application_is_used(self, form, lines, read):
        lines.formatted(form[0](datefmt="%Y")).info("hello")

        assert re.fullmatch(r"\d{4}", read()["time"])

    def test_it_can_be_named_in_a_configuration(self, form, capsys):
        name = f"hopline.logging.{form[0].__name__}"
        root = logging.getLogger()
        level, handlers = root.level, root.handlers[:]
        logging.config.dictConfig(
            {
                "version": 1,
                "disable_existing_loggers": False,
                "formatters": {"made": {"()": name}, "classed": {"class": name}},
                "handlers": {
                    "made": {"class": "logging.StreamHandler", "formatter": "made", "stream": "ext://sys.stdout"},
                    "classed": {"class": "logging.StreamHandler", "formatter": "classed", "stream": "ext://sys.stdout"},
                },
                "loggers": {"configured": {"level": "INFO", "handlers": ["made", "classed"], "propagate": False}},
            }
        )
        root.setLevel(level)
        root.handlers[:] = handlers

        logging.getLogger("configured").info("hello")

        assert [form[1](line)["message"] for line in capsys.readouterr().out.splitlines()] == ["hello", "hello"]


class TestLogfmt:
    @pytest.mark.parametrize(
        ("value", "written"),
        [
            ("plain", "plain"),
            ("two words", '"two words"'),
            ("", '""'),
            ("é", '"é"'),
            (1, "1"),
            (1.5, "1.5"),
            (True, "true"),
            (None, "null"),
            ([1, "a"], r'"[1,\"a\"]"'),
            ({"a": 1}, r'"{\"a\":1}"'),
        ],
    )
    def test_a_value_is_written_bare_where_it_can_be(self, value, written, lines):
        lines.formatted(LogfmtFormatter()).info("hello", extra={"value": value})

        assert lines.read().endswith(f" value={written}\n")


class TestJson:
    @pytest.mark.parametrize("value", [1, 1.5, True, None, "text", [1, "a", None], {"a": {"b": [1]}}])
    def test_a_value_that_json_has_stays_what_it_is(self, value, lines):
        lines.formatted(JsonFormatter()).info("hello", extra={"value": value})

        assert json.loads(lines.read())["value"] == value

    def test_what_is_nested_deeply_ends(self, lines):
        value = 1
        for _ in range(10):
            value = [value]
        lines.formatted(JsonFormatter()).info("hello", extra={"value": value})

        assert json.loads(lines.read())["value"] == [[[[[[[["[...]"]]]]]]]]

    @pytest.mark.parametrize("value", [[0] * 20_000, dict.fromkeys(range(20_000))], ids=["list", "dictionary"])
    def test_a_part_of_what_is_very_long_stands_for_all_of_it(self, value, lines):
        lines.formatted(JsonFormatter()).info("hello", extra={"value": value})

        made = json.loads(lines.read())["value"]
        assert len(made) == 10_000
        assert "..." in made

    def test_a_proxy_of_a_dictionary_is_one(self, lines):
        lines.formatted(JsonFormatter()).info("hello", extra={"value": Proxy(lambda: {"a": 1})})

        assert json.loads(lines.read())["value"] == {"a": 1}

    def test_what_cannot_be_shown_leaves_what_lies_beside_it(self, lines):
        lines.formatted(JsonFormatter()).info("hello", extra={"value": [Proxy(down), 17]})

        assert json.loads(lines.read())["value"] == ["<Proxy that cannot be shown: ConnectionError>", 17]

    def test_tuples_and_sets_are_lists_and_keys_are_text(self, lines):
        lines.formatted(JsonFormatter()).info("hello", extra={"value": {1: (1, 2), None: {3}}})

        assert json.loads(lines.read())["value"] == {"1": [1, 2], "None": [3]}
