"""Replace C functions that Cython modules import from one another.

Cython passes them in capsules in ``module.__pyx_capi__``, whose names are the C signatures. A
module that is imported later takes whatever capsule is there then.
"""

from __future__ import annotations

import atexit
import ctypes
from collections.abc import Callable
from types import ModuleType
from typing import Any

_api = ctypes.pythonapi
_api.PyCapsule_New.restype = ctypes.py_object
_api.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_api.PyCapsule_GetName.restype = ctypes.c_char_p
_api.PyCapsule_GetName.argtypes = [ctypes.py_object]
_api.Py_IncRef.argtypes = [ctypes.py_object]

_C_TYPES: dict[str, Any] = {
    "int": ctypes.c_int,
    "intptr_t": ctypes.c_ssize_t,
    "size_t": ctypes.c_size_t,
    "PyObject *": ctypes.py_object,
    "unsigned int": ctypes.c_uint,
    "float": ctypes.c_float,
    "void": None,
    "CUdevice": ctypes.c_int,
    "uintmax_t": ctypes.c_ulong,
    "int __pyx_skip_dispatch": ctypes.c_int,
}

# CuPy frees memory until the very end of the process, when Python functions can no longer run.
_kept_alive: list[Any] = []
_api.Py_IncRef(_kept_alive)
_is_closing: list[bool] = []
atexit.register(_is_closing.append, True)


def rebind(module: ModuleType, name: str, function: Callable[..., Any]) -> None:
    """Let ``function`` take the place of a C function of ``module``, and of its Python name."""
    signature = _api.PyCapsule_GetName(module.__pyx_capi__[name])
    result, _, rest = signature.decode().partition("(")
    parameters = [parameter.strip() for parameter in rest.rstrip(")").split(",")]
    if parameters == ["void"]:
        parameters = []
    # The last ones are Cython's own.
    own = sum("skip_dispatch" in p or p.startswith("struct") for p in parameters)
    count = len(parameters) - own
    nothing = None if result.strip() == "PyObject *" else 0

    def call(*arguments: Any) -> Any:
        return nothing if _is_closing else function(*arguments[:count])

    types = [ctypes.c_void_p if p.startswith("struct") else _C_TYPES[p] for p in parameters]
    callback = ctypes.PYFUNCTYPE(_C_TYPES[result.strip()], *types)(call)
    capsule_name = ctypes.create_string_buffer(signature)
    module.__pyx_capi__[name] = _api.PyCapsule_New(
        ctypes.cast(callback, ctypes.c_void_p), ctypes.cast(capsule_name, ctypes.c_char_p), None
    )
    _kept_alive.extend((callback, capsule_name))
    setattr(module, name, function)
