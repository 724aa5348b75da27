"""The parts of the library that instructions are counted for.

By the module that an instruction is in, and for the kernels by the source file it was written in:
neither changes when functions are renamed, or inlined. Files that are in no table count for the
module they are in, and modules that are in none are a part of their own.
"""

from __future__ import annotations

import re
from collections import Counter

from ..callgrind import Origin

PACKING = "packing"
PART_OF_FILE = {"pack.pxi": PACKING, "transpose.h": PACKING}
"""Source files of the kernel modules that are a part of their own."""
KERNELS = "kernels"
C_LIBRARY = "C library"
PYTHON = "Python layer"
"""The interpreter, NumPy's part of a call, and whatever else there is."""

_CORE_MODULE = re.compile(r".*/roialign_cy/_core/(kernels/)?(\w+)\.[^/]*")
_C_LIBRARIES = re.compile(r"(.*/)?(libc|libm|libgomp|libpthread|ld)[-.][^/]*")


def part_of(origin: Origin) -> str:
    """Give the part that an instruction belongs to."""
    module = _CORE_MODULE.fullmatch(origin.module)
    if module is None:
        return C_LIBRARY if _C_LIBRARIES.fullmatch(origin.module) else PYTHON
    is_kernel, name = module.groups()
    return PART_OF_FILE.get(origin.file, KERNELS) if is_kernel else name


def by_part(counts: Counter[Origin]) -> dict[str, Counter[Origin]]:
    """Sort what was counted for one case into its parts."""
    parts: dict[str, Counter[Origin]] = {}
    for origin, instructions in counts.items():
        parts.setdefault(part_of(origin), Counter())[origin] = instructions
    return parts
