"""Run CuPy, as it comes in its wheel, on a machine without a GPU.

`install` replaces the C functions that CuPy's modules take from its driver and runtime wrappers.
"Device" memory becomes host memory between guard pages; CuPy still parses the kernel, chooses
options, calls NVRTC, packs arguments and sizes the launch. NVRTC's PTX is translated to C++ and
run one thread at a time, with an eye on races and misaligned accesses.

It relies on private parts of CuPy 14. Kernels whose threads co-operate are refused. A kernel that
leaves its arrays ends the interpreter: use it in a process of its own.
"""

from __future__ import annotations

from .install import Launch, Machine, install

__all__ = ["Launch", "Machine", "install"]
