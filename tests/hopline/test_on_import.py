"""What waits for an import: called once, when the first of its modules is there, and never before."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import EntryPoint

import pytest

from hopline._on_import import LIBRARIES, when_imported
from hopline._patch import Patch
from hopline.asgi import _instrumentor as asgi
from hopline.distro import HoplineDistro, our_instrumentors
from hopline.wsgi import _instrumentor as wsgi

SERVERS = {"asgi": asgi._patches, "wsgi": wsgi._patches}


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """The names of two modules that can be imported and have not been."""
    monkeypatch.syspath_prepend(tmp_path)
    names = (f"first_of_{tmp_path.name}", f"second_of_{tmp_path.name}")
    for name in names:
        (tmp_path / f"{name}.py").write_text("")
    yield names
    for name in names:
        sys.modules.pop(name, None)


def test_nothing_happens_before_one_of_the_modules_is_imported(modules):
    called = []

    when_imported(modules, lambda: called.append(sys.modules.keys() & {*modules}))

    assert called == []


def test_it_is_called_once_the_first_of_them_has_been_imported(modules):
    called = []
    when_imported(modules, lambda: called.append(sys.modules.keys() & {*modules}))

    for name in reversed(modules):
        import_module(name)

    assert called == [{modules[1]}]


def test_it_is_called_at_once_where_one_has_been_imported_already(modules):
    import_module(modules[1])
    called = []

    when_imported(modules, lambda: called.append(True))

    assert called == [True]


def test_it_is_called_at_once_where_there_is_nothing_to_wait_for():
    called = []

    when_imported((), lambda: called.append(True))

    assert called == [True]


def test_a_patch_that_finds_its_module_half_imported_is_applied_when_the_import_is_over(modules, tmp_path):
    first, second = modules
    (tmp_path / f"{first}.py").write_text(f"import {second}\ndef greet(): return 'theirs'\n")
    patch = Patch(first, "greet", lambda wrapped, instance, args, kwargs: f"ours around {wrapped()}")
    when_imported(modules, patch.apply)

    greeted = import_module(first).greet()

    assert greeted == "ours around theirs"


def test_a_patch_that_is_removed_meanwhile_is_not_applied(modules, tmp_path):
    first, second = modules
    (tmp_path / f"{first}.py").write_text(f"import {second}\ndef greet(): return 'theirs'\n")
    patch = Patch(first, "greet", lambda wrapped, instance, args, kwargs: f"ours around {wrapped()}")
    when_imported(modules, lambda: (patch.apply(), patch.remove()))

    greeted = import_module(first).greet()

    assert greeted == "theirs"


def test_only_instrumentors_of_ours_wait():
    assert LIBRARIES.keys() < our_instrumentors()


@pytest.mark.parametrize("instrumentor", sorted(SERVERS))
def test_each_server_that_is_patched_is_waited_for(instrumentor):
    patched = {patch._module for patch in SERVERS[instrumentor]._patches}

    awaited = {name for name in patched for each in LIBRARIES[instrumentor] if f"{name}.".startswith(f"{each}.")}

    # waitress.channel and the like are imported by the package that they are part of.
    assert awaited == patched


def test_an_instrumentor_that_is_not_there_does_not_fail_the_import(modules, monkeypatch, caplog):
    monkeypatch.setitem(LIBRARIES, "requests", modules)
    missing = EntryPoint("requests", "hopline.no_such_room:Instrumentor", "opentelemetry_instrumentor")
    HoplineDistro().load_instrumentor(missing)
    assert caplog.records == []

    import_module(modules[0])

    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == "requests is not instrumented: No module named 'hopline.no_such_room'"


def test_an_instrumentor_that_fails_then_is_told_with_its_error(modules, monkeypatch, caplog):
    monkeypatch.setitem(LIBRARIES, "requests", modules)
    failing = EntryPoint("requests", "hopline.request_id:is_valid", "opentelemetry_instrumentor")
    HoplineDistro().load_instrumentor(failing)

    import_module(modules[0])

    (record,) = caplog.records
    assert record.getMessage() == "requests is not instrumented: hopline.request_id:is_valid failed"
    assert record.exc_info is not None
