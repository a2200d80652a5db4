"""Patches that can be switched off where they stand, made when their module is imported, never before."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from logging import getLogger
from types import ModuleType
from typing import Any

import wrapt

_logger = getLogger(__name__)

# Those that found their module half imported: by another thread, or around the import that they were applied in.
_half_imported: list[Patch] = []

Wrapper = Callable[[Callable[..., Any], Any, tuple[Any, ...], Mapping[str, Any]], Any]


class _PatchedMethod(wrapt.BoundFunctionWrapper):  # type: ignore[type-arg]
    """A patched method, of an object or of its class; it is copied and pickled as if it were not patched."""

    # Those of wrapt refuse; where there is none, the copy is made of what `__reduce_ex__` returns.
    __copy__ = __deepcopy__ = None  # type: ignore[assignment]

    def __reduce_ex__(self, protocol: object) -> tuple[Callable[..., Any], tuple[object, str]]:
        holder = self._self_owner if self._self_instance is None else self._self_instance
        return getattr, (holder, self.__name__)


class _Patched(wrapt.FunctionWrapper):  # type: ignore[type-arg]
    """What a patch puts in the place of a function; it, too, is copied and pickled as if it were not there."""

    __bound_function_wrapper__ = _PatchedMethod
    __copy__ = __deepcopy__ = None  # type: ignore[assignment]

    def __reduce_ex__(self, protocol: object) -> str:
        return str(self.__qualname__)


class Patch:
    """A wrapper around one attribute of one module; a module that has no such attribute is left as it is.

    Args:
        module: the module's name; applying the patch does not import it.
        path: the attribute, for instance ``Session.send``.
        wrapper: called as ``wrapper(wrapped, instance, args, kwargs)``, as wrapt has it.
    """

    def __init__(self, module: str, path: str, wrapper: Wrapper) -> None:
        self._module = module
        self._path = path
        self._wrapper = wrapper
        self._waiting = False
        self._applied = False
        self._inherited = False
        self._installed: Any = None
        # Its truth says whether the installed wrapper is on. A list, for wrapt tests that without calling Python.
        self._switch: list[bool] = []

    @property
    def is_applied(self) -> bool:
        """Whether it is, or will be when its module is imported."""
        return self._applied

    def apply(self) -> None:
        """Patch the module, now or when it is imported. Applied twice, it is still one layer."""
        self._applied = True
        if self._module in sys.modules:
            self._install(_completed(sys.modules[self._module]))
        elif not self._waiting:
            self._waiting = True
            wrapt.register_post_import_hook(self._imported, self._module)

    def remove(self) -> None:
        """Undo the patch: take it away, or switch it off where somebody else's patch stands on it."""
        self._applied = False
        self._switch.clear()
        if self._installed is None:
            return
        parent, attribute, current = wrapt.resolve_path(self._module, self._path)
        if current is self._installed:
            if self._inherited:
                delattr(parent, attribute)
            else:
                setattr(parent, attribute, current.__wrapped__)
            self._installed = None

    def _imported(self, module: ModuleType) -> None:
        self._waiting = False
        if self._applied:
            self._install(module)

    def _install(self, module: ModuleType) -> None:
        try:
            parent, attribute, current = wrapt.resolve_path(module, self._path)
        except AttributeError:
            if _is_initializing(module):
                _half_imported.append(self)
                return
            _logger.debug("%s has no %s: what it would tell is not told", self._module, self._path)
            return
        if self._installed is not None and _stands_on(current, self._installed):
            self._switch[:] = [True]
            return
        # One that cannot be found any more goes off; should it still be called, it only passes on.
        self._switch.clear()
        self._switch = [True]
        self._inherited = attribute not in vars(parent)
        self._installed = self._layer_on(current)
        setattr(parent, attribute, self._installed)

    def _layer_on(self, current: Any) -> Any:
        return _Patched(current, self._wrapper, enabled=self._switch)  # type: ignore[arg-type]


class Patches:
    """Several patches, applied and removed together.

    Args:
        *patches: the patches.
    """

    def __init__(self, *patches: Patch) -> None:
        self._patches = [*patches]

    def __iter__(self) -> Iterator[Patch]:
        return iter(self._patches)

    def add(self, patch: Patch) -> None:
        """Add one, before they are applied."""
        self._patches.append(patch)

    def apply(self) -> None:
        """Apply each of them."""
        for patch in self._patches:
            patch.apply()

    def remove(self) -> None:
        """Remove each of them."""
        for patch in self._patches:
            patch.remove()


class PropertyPatch(Patch):
    """A patch of a property; its wrapper is one around the getter, called with the object in ``args``."""

    def _layer_on(self, current: property) -> property:
        return _PropertyLayer(current, super()._layer_on(current.fget))


class _PropertyLayer(property):
    def __init__(self, wrapped: property, getter: Callable[[Any], Any]) -> None:
        super().__init__(getter, wrapped.fset, wrapped.fdel, wrapped.__doc__)
        self.__wrapped__ = wrapped


def apply_again() -> None:
    """Apply the patches that have found their module half imported; called when an import is over."""
    patches: list[Patch] = []
    with suppress(IndexError):
        while True:
            patches.append(_half_imported.pop(0))
    for patch in patches:
        if patch._applied:
            patch.apply()


def _completed(module: ModuleType) -> ModuleType:
    """``module``; where another thread is importing it, once it has."""
    if not _is_initializing(module):
        return module
    with suppress(ImportError):
        import_module(module.__name__)  # in the thread itself that is importing it this returns at once
    return module


def _is_initializing(module: ModuleType) -> bool:
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def _stands_on(function: object, layer: object) -> bool:
    while function is not None:
        if function is layer:
            return True
        function = getattr(function, "__wrapped__", None)
    return False
