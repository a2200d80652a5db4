"""The reference names everything there is: each variable that the code reads, each public class and function."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import sys
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

import hopline
import hopline_statsd

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
SOURCES = [*ROOT.glob("instrumentation/**/*.py"), *ROOT.glob("exporters/**/*.py")]
VARIABLE = re.compile(r"(?:OTEL|STATSD)(?:_[A-Z0-9]+)+")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
DECLARED = ("hopline.environment_variables", "hopline_statsd.environment_variables")


def names_in(source: str) -> Iterator[str]:
    """The variables that a module names: as they are, as constants of OpenTelemetry, or as patterns with gaps."""
    tree = ast.parse(source)
    # What stands between the gaps of a pattern is no name.
    within = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in within:
            if VARIABLE.fullmatch(node.value):
                yield node.value
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names if VARIABLE.fullmatch(alias.name))
        elif isinstance(node, ast.JoinedStr):
            pattern = "".join(
                re.escape(str(part.value)) if isinstance(part, ast.Constant) else "[A-Z_]+" for part in node.values
            )
            if pattern.startswith("OTEL_") and " " not in pattern:
                yield pattern


VARIABLES = sorted({name for path in SOURCES for name in names_in(path.read_text())})


def environment_page() -> str:
    page = (ROOT / "docs" / "environment.md").read_text()
    listed = [name for module in DECLARED if f"automodule:: {module}" in page for name in vars(import_(module))]
    return "\n".join([page, *listed])


def import_(module: str) -> Any:
    return importlib.import_module(module)


@pytest.mark.parametrize("variable", VARIABLES)
def test_each_variable_that_the_code_names_is_on_the_page(variable):
    assert re.search(rf"\b{variable}", environment_page())


def test_the_variables_of_the_code_are_found():
    assert {"OTEL_EXPORTER_STATSD_RULES", "OTEL_SDK_DISABLED", "OTEL_PYTHON_[A-Z_]+_EXCLUDED_URLS"} <= {*VARIABLES}


def public_names() -> Iterator[str]:
    for package in (hopline, hopline_statsd):
        modules = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        paths = [package.__name__, *(module.name for module in modules)]
        for path in paths:
            # What stands behind the instrumentors is theirs.
            if not path.startswith("hopline.http") and not any(part.startswith("_") for part in path.split(".")):
                yield from (f"{path}.{name}" for name in exported(path) if not name.startswith("_"))


def exported(module: str) -> list[str]:
    source = Path(importlib.util.find_spec(module).origin)  # not imported: an optional library may be missing
    return [
        name
        for node in ast.parse(source.read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        for name in ast.literal_eval(node.value)
    ]


def found(path: str) -> Any:
    """What stands at a dotted path."""
    for end in range(path.count(".") + 1, 0, -1):
        module, rest = path.split(".")[:end], path.split(".")[end:]
        try:
            return reduce(getattr, rest, import_(".".join(module)))
        except ModuleNotFoundError:
            continue
    raise LookupError(path)


@pytest.fixture(scope="module")
def documented() -> list[Any]:
    page = (ROOT / "docs" / "api.md").read_text()
    things = [found(path) for path in re.findall(r"^\.\. auto(?!module)\w+:: (\S+)", page, re.MULTILINE)]
    for path in re.findall(r"^\.\. automodule:: (\S+)", page, re.MULTILINE):
        things.extend(thing for name, thing in vars(import_(path)).items() if not name.startswith("_"))
    return things


@pytest.mark.parametrize("name", sorted(public_names()))
def test_each_public_name_is_on_the_page(documented, name):
    assert any(found(name) is thing for thing in documented)


@pytest.mark.parametrize("module", ["hopline", "hopline.requests", "hopline.aiohttp_client", "hopline_statsd"])
def test_the_public_names_are_found(module):
    assert any(name.rpartition(".")[0] == module for name in public_names())


def rooms() -> list[str]:
    """The modules and packages that the layers of import-linter name, but those that are private."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (layers,) = [each["layers"] for each in settings["tool"]["importlinter"]["contracts"] if "layers" in each]
    return [name for layer in layers for name in layer.split(" | ") if not name.startswith("_")]


@pytest.mark.parametrize("room", sorted({*rooms()} - {"environment_variables"}))
def test_each_room_is_on_the_page_of_the_architecture(room):
    assert f"`hopline.{room}`" in ARCHITECTURE


@pytest.mark.parametrize("module", sorted(set(re.findall(r"`(hopline(?:_statsd)?(?:\.\w+)+)`", ARCHITECTURE))))
def test_each_room_on_the_page_of_the_architecture_is_there(module):
    assert found(module)


def test_the_index_leads_to_every_page():
    index = (ROOT / "docs" / "index.md").read_text()
    listed = {
        line for toctree in re.findall(r"```{toctree}\n(.*?)```", index, re.DOTALL) for line in toctree.split("\n")
    }

    assert {page.stem for page in (ROOT / "docs").glob("*.md")} - {"index"} <= listed
