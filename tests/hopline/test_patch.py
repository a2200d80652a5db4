"""Patches: made when their module is imported, and switched off where they stand."""

from __future__ import annotations

import pickle
import sys
import threading
from copy import copy, deepcopy
from functools import partial
from importlib import import_module
from types import ModuleType

import pytest

from hopline._patch import Patch


@pytest.fixture
def module(monkeypatch):
    """A module with a class that inherits a method, and a function."""
    module = ModuleType("patched_module")

    class Base:
        def inherited(self):
            return "inherited"

    class Derived(Base):
        def own(self):
            return "own"

    module.Base, module.Derived, module.function = Base, Derived, lambda: "function"
    monkeypatch.setitem(sys.modules, "patched_module", module)
    return module


def shouting(wrapped, instance, args, kwargs):
    return wrapped(*args, **kwargs).upper()


def test_a_module_that_another_thread_is_importing_is_waited_for(tmp_path, monkeypatch):
    (tmp_path / "slow_to_import.py").write_text(
        "import tests.hopline.half_way as half_way\n"
        "half_way.reached.set()\n"
        "half_way.go_on.wait(30)\n"
        "def function():\n"
        "    return 'function'\n"
    )
    half_way = ModuleType("tests.hopline.half_way")
    half_way.reached, half_way.go_on = threading.Event(), threading.Event()
    monkeypatch.setitem(sys.modules, "tests.hopline.half_way", half_way)
    monkeypatch.syspath_prepend(tmp_path)
    importing = threading.Thread(target=import_module, args=("slow_to_import",))
    importing.start()
    half_way.reached.wait(30)
    threading.Timer(0.05, half_way.go_on.set).start()

    Patch("slow_to_import", "function", shouting).apply()
    importing.join(30)

    assert sys.modules.pop("slow_to_import").function() == "FUNCTION"


@pytest.mark.parametrize(
    ("path", "call"),
    [
        ("Derived.own", lambda module: module.Derived().own()),
        ("Derived.inherited", lambda module: module.Derived().inherited()),
        ("function", lambda module: module.function()),
    ],
)
def test_a_patch_is_applied_and_removed(module, path, call):
    before = call(module)
    patch = Patch("patched_module", path, shouting)

    patch.apply()
    patched = call(module)
    patch.remove()

    assert patched == before.upper()
    assert call(module) == before


def test_a_method_that_is_inherited_is_patched_in_the_derived_class_only(module):
    patch = Patch("patched_module", "Derived.inherited", shouting)

    patch.apply()

    assert module.Base().inherited() == "inherited"
    patch.remove()
    assert "inherited" not in vars(module.Derived)


def test_a_patch_that_is_applied_twice_is_one_layer(module):
    calls = []
    patch = Patch("patched_module", "function", lambda wrapped, _, args, kwargs: calls.append(1) or wrapped())

    patch.apply()
    patch.apply()
    module.function()

    assert calls == [1]


def test_a_patch_under_another_one_is_switched_off_and_on(module):
    patch = Patch("patched_module", "function", shouting)
    patch.apply()
    ours = module.function

    def theirs():
        return f"<{ours()}>"

    theirs.__wrapped__ = ours
    module.function = theirs

    patch.remove()
    assert module.function() == "<function>"
    patch.apply()
    assert module.function() == "<FUNCTION>"
    assert module.function is theirs


def test_a_patch_that_somebody_hid_is_made_anew_on_top_and_still_is_one_layer(module):
    patch = Patch("patched_module", "function", lambda wrapped, *_: f"({wrapped()})")
    patch.apply()
    ours = module.function
    module.function = lambda: ours()  # noqa: PLW0108 - nothing leads from it to what it calls
    patch.remove()

    patch.apply()

    assert module.function() == "(function)"


def test_a_patch_that_the_end_of_another_one_has_changed_is_one_layer_when_applied_again(module):
    patch = Patch("patched_module", "Derived.own", lambda wrapped, instance, args, kwargs: f"{wrapped(*args)}!")
    patch.apply()
    # What takes away a layer of wrapt's that it finds by the class leaves the layer below as the class gives it.
    module.Derived.own = module.Derived.own

    patch.apply()

    assert module.Derived().own() == "own!"
    patch.remove()


def test_removing_a_patch_that_was_never_applied_does_nothing(module):
    Patch("patched_module", "function", shouting).remove()

    assert module.function() == "function"


def test_an_attribute_that_is_not_there_is_left_alone(module, caplog):
    caplog.set_level("DEBUG", "hopline")
    patch = Patch("patched_module", "Derived.missing", shouting)

    patch.apply()
    patch.remove()

    assert "has no Derived.missing" in caplog.text


def test_a_module_is_patched_when_it_is_imported_and_not_before(tmp_path, monkeypatch):
    (tmp_path / "imported_later.py").write_text("def function(): return 'function'\n")
    monkeypatch.syspath_prepend(tmp_path)
    patch = Patch("imported_later", "function", shouting)

    patch.apply()
    assert "imported_later" not in sys.modules
    import imported_later

    assert imported_later.function() == "FUNCTION"


def test_a_patch_that_was_removed_in_the_meantime_is_not_made(tmp_path, monkeypatch):
    (tmp_path / "imported_too_late.py").write_text("def function(): return 'function'\n")
    monkeypatch.syspath_prepend(tmp_path)
    patch = Patch("imported_too_late", "function", shouting)

    patch.apply()
    patch.remove()
    import imported_too_late

    assert imported_too_late.function() == "function"


@pytest.fixture
def importable(tmp_path, monkeypatch):
    """A module that can be imported, as what is pickled must be, with a patched method and a patched function."""
    (tmp_path / "importable.py").write_text(
        "class Class:\n    def method(self):\n        return 'method'\ndef function():\n    return 'function'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    Patch("importable", "Class.method", shouting).apply()
    Patch("importable", "function", shouting).apply()
    yield import_module("importable")
    del sys.modules["importable"]


@pytest.mark.parametrize("copied", [copy, deepcopy, lambda function: pickle.loads(pickle.dumps(function))])
@pytest.mark.parametrize(
    ("get", "said"),
    [
        (lambda module: module.Class().method, "METHOD"),
        (lambda module: partial(module.Class.method, module.Class()), "METHOD"),
        (lambda module: module.function, "FUNCTION"),
    ],
)
def test_what_is_patched_can_be_copied_and_pickled(importable, get, said, copied):
    function = get(importable)

    again = copied(function)

    assert again() == said


def test_a_deep_copy_of_a_patched_method_is_of_a_copy_of_its_object(importable):
    holder = importable.Class()

    again = deepcopy(holder.method)

    assert again.__self__ is not holder


def test_a_pickle_of_a_patched_method_can_be_read_where_there_is_no_patch(importable):
    pickled = pickle.dumps(importable.Class().method)

    assert b"hopline" not in pickled
    assert b"wrapt" not in pickled
