"""Device memory on the host: every allocation ends at a page that nobody may touch."""

from __future__ import annotations

import ctypes
import mmap

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]

_PAGE = mmap.PAGESIZE
_ALIGNMENT = 16
_POISON = 0xA5
_ANYWHERE_PRIVATE = (mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)

_mappings: dict[int, tuple[int, int]] = {}


def allocate(size: int, *_: object) -> int:
    """Poisoned memory whose last byte is next to a guard page, as far as alignment allows."""
    inner = -(-max(size, 1) // _PAGE) * _PAGE
    base = _libc.mmap(None, inner + 2 * _PAGE, *_ANYWHERE_PRIVATE)
    _libc.mprotect(base, _PAGE, 0)
    _libc.mprotect(base + _PAGE + inner, _PAGE, 0)
    address = base + _PAGE + (inner - size) // _ALIGNMENT * _ALIGNMENT
    ctypes.memset(base + _PAGE, _POISON, inner)
    _mappings[address] = base, inner + 2 * _PAGE
    return address


def free(address: int, *_: object) -> None:
    """Give memory back; from then on, touching it is a fault."""
    if address:
        _libc.munmap(*_mappings.pop(address))


def copy(target: int, source: int, size: int, *_: object) -> None:
    """Copy between any two places: all memory is the host's."""
    ctypes.memmove(target, source, size)


def fill(address: int, value: int, size: int, *_: object) -> None:
    """Set bytes."""
    ctypes.memset(address, value, size)
