"""Which backends exist, which one a call gets, and why one cannot be used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from .._choices import require_choice
from .._core import runtime
from ._protocol import API_VERSION, MEMBERS, Backend, BackendUnavailableError

ENTRY_POINT_GROUP = "roialign_cy.backends"
ENVIRONMENT_VARIABLE = "ROIALIGN_BACKEND"

# What an array gets when no backend is named, whatever else is installed.
BACKEND_OF_ARRAY = {"numpy:ndarray": "cpu", "cupy:ndarray": "gpu"}
_MODULE_OF_ARRAY = {"torch:Tensor": "roialign_cy.torch", "dask:Array": "roialign_cy.dask"}

_BUILT_IN = {
    name: EntryPoint(name, f"{__package__}.{name}:BACKEND", ENTRY_POINT_GROUP)
    for name in ("cpu", "reference")
}
# Plugins of this project: known by name, and how to get them, even where they are not installed.
_INSTALL = {"gpu": 'in a checkout, pip install "./gpu[cuda12x]"'}

_registered: dict[str, Any] = {}
_used: ContextVar[str | None] = ContextVar("roialign_cy_backend", default=None)


def names() -> tuple[str, ...]:
    """Names of all known backends, usable or not."""
    plugins = sorted({*_entry_points(), *_INSTALL, *_registered} - _BUILT_IN.keys())
    return (*_BUILT_IN, *plugins)


def available() -> tuple[str, ...]:
    """Names of the backends that can be used here and now."""
    return tuple(name for name in names() if unavailable_reason(name) is None)


def unavailable_reason(name: str) -> str | None:
    """Why the backend of that name cannot be used, or None if it can.

    Raises
    ------
    ValueError
        If no backend of that name is known.
    """
    require_choice("backend", name, names())
    loaded = _load(name)
    if isinstance(loaded, str):
        return loaded
    try:
        return loaded.unavailable_reason()
    except Exception as error:  # as at import: a plugin's fault must stay with its own users
        return f"it failed to say whether it can run: {type(error).__name__}: {error}"


def get(name: str) -> Backend:
    """The backend of that name.

    Parameters
    ----------
    name : str
        One of `names`.

    Raises
    ------
    ValueError
        If no backend of that name is known.
    BackendUnavailableError
        If it is known and cannot be used here; the text has the reason.
    """
    reason = unavailable_reason(name)
    if reason is not None:
        raise BackendUnavailableError(f"backend {name!r} is unavailable: {reason}")
    backend = _load(name)
    assert not isinstance(backend, str)  # that would have been the reason
    return backend


def register(backend: Backend) -> None:
    """Make ``backend`` known under its ``name`` for the life of the process.

    A second backend of one name takes the place of the first; the built-in names are refused.
    A defect (a missing member, another ``api_version``) shows when the backend is asked for.
    """
    name = getattr(backend, "name", None)
    if not isinstance(name, str) or not name:
        raise TypeError(f"backend must have a name, got {backend!r}")
    if name in _BUILT_IN:
        raise ValueError(f"backend must not take the built-in name {name!r}")
    _registered[name] = backend
    _resolve.cache_clear()


@contextmanager
def use(name: str) -> Iterator[Backend]:
    """Name the backend of every call inside the ``with`` block that names none itself.

    Examples
    --------
    >>> import roialign_cy as ra
    >>> with ra.backends.use("reference") as backend:
    ...     backend.name
    'reference'
    """
    backend = get(name)
    token = _used.set(name)
    try:
        yield backend
    finally:
        _used.reset(token)


def resolve(name: str | None, array: Any, argument: str = "features") -> Backend:
    """The backend of a call: the one named, else the one that the kind of array calls for."""
    named_by = "backend"
    if name is None:
        name = _used.get()
    if name is None:
        name = runtime.environment(ENVIRONMENT_VARIABLE) or None
        named_by = ENVIRONMENT_VARIABLE
    if name is not None and not isinstance(name, str):
        require_choice(named_by, name, names())
    return _resolve(name, named_by, type(array), argument)  # type: ignore[arg-type]  # a type is hashable


def require_kind(array: Any, argument: str, like: Any, backend: Backend) -> None:
    """Raise unless the array is of the kind, among those the backend takes, that ``like`` is."""
    if type(array) is type(like):
        return
    kind = next(kind for kind in _type_names(type(like)) if kind in backend.array_types)
    if kind not in _type_names(type(array)):
        package = kind.partition(":")[0]
        whose = {"numpy": "NumPy", "cupy": "CuPy"}.get(package, package)
        raise TypeError(f"{argument} must be a {whose} array, got {full_name(type(array))}")


@cache
def _resolve(name: str | None, named_by: str, array_type: type, argument: str) -> Backend:
    """Cached where it succeeds: a call should cost no discovery."""
    kinds = _type_names(array_type)
    if name is not None:
        require_choice(named_by, name, names())
    else:
        name = next((BACKEND_OF_ARRAY[kind] for kind in kinds if kind in BACKEND_OF_ARRAY), None)
        if name is None:
            raise TypeError(
                f"{argument} must be a NumPy or CuPy array, got {full_name(array_type)}: "
                + _advice(kinds)
            )
    backend = get(name)
    if not any(kind in backend.array_types for kind in kinds):
        raise TypeError(
            f"{argument} of type {full_name(array_type)} cannot go to backend {name!r}, "
            f"which takes {', '.join(backend.array_types)}: " + _advice(kinds)
        )
    return backend


def _advice(kinds: tuple[str, ...]) -> str:
    """What a caller with such an array can do."""
    module = next((_MODULE_OF_ARRAY[kind] for kind in kinds if kind in _MODULE_OF_ARRAY), None)
    if module is not None:
        return f"{module} has the functions for it"
    return "convert it with numpy.asarray, or name a backend that takes it"


def _type_names(array_type: type) -> tuple[str, ...]:
    """``"package:class"`` of a type and of its bases, the notation of `Backend.array_types`."""
    return tuple(f"{t.__module__.partition('.')[0]}:{t.__qualname__}" for t in array_type.__mro__)


def full_name(array_type: type) -> str:
    """How error texts call a type: more than one library has an ``ndarray``."""
    return f"{array_type.__module__}.{array_type.__qualname__}".removeprefix("builtins.")


def _load(name: str) -> Backend | str:
    """The backend object of a known name, or what is wrong with it."""
    if name in _registered:
        return _defect(_registered[name], name) or _registered[name]
    return _load_entry_point(name)


@cache
def _load_entry_point(name: str) -> Backend | str:
    entry_point = _BUILT_IN.get(name) or _entry_points().get(name)
    if entry_point is None:
        return f"it is not installed; {_INSTALL[name]}"
    try:
        loaded = entry_point.load()
        backend = loaded() if isinstance(loaded, type) else loaded
    except Exception as error:  # whatever a plugin does must not reach those who do not use it
        return f"{entry_point.value} failed to import: {type(error).__name__}: {error}"
    return _defect(backend, name) or backend


def _defect(backend: Any, name: str) -> str | None:
    try:
        missing = [member for member in MEMBERS if not hasattr(backend, member)]
        if missing:
            return f"it is no complete backend: it lacks {', '.join(missing)}"
        if backend.api_version != API_VERSION:
            return f"it is written for api_version {backend.api_version}, this is {API_VERSION}"
        if backend.name != name:
            return f"it is announced as {name!r} and calls itself {backend.name!r}"
    except Exception as error:  # a member may be a property, and raise
        return f"it failed to describe itself: {type(error).__name__}: {error}"
    return None


@cache
def _entry_points() -> dict[str, EntryPoint]:
    found = entry_points(group=ENTRY_POINT_GROUP)
    return {point.name: point for point in sorted(found, key=lambda p: (p.name, p.value))}
