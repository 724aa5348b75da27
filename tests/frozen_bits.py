"""Hashes of the results of `frozen_calls.py`, kept in `golden/bits.json`.

``python -m tests.frozen_bits`` says which calls have other bits now, ``--show NAME`` tells all
about one of them, and ``--write`` keeps the present bits; the file itself says when one may.
"""

from __future__ import annotations

import argparse
import json
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

import roialign_cy as ra
from tests.frozen_calls import Frozen, table

PATH = Path(__file__).parent / "golden" / "bits.json"
ABOUT = (
    "The bits of every call of tests/frozen_calls.py, on every CPU variant, with any number of "
    "threads. A change that is not meant to change numbers must not change this file, and never "
    "may it be written anew to make a test pass: only where a change of numbers is the purpose, "
    "with the calls that it changes named in the commit. Then: python -m tests.frozen_bits --write"
)


def result_of(call: Frozen, **options: Any) -> tuple[np.ndarray, ...]:
    """Run a call; give its result, or results."""
    result = getattr(ra, call.function)(**call.arguments(), **options)
    return result if isinstance(result, tuple) else (result,)


def digest(results: tuple[np.ndarray, ...]) -> str:
    """Hash shapes, types and little-endian bytes in the order of C."""
    state = blake2b(digest_size=8)
    for array in results:
        little = array.astype(array.dtype.newbyteorder("<"), order="C")
        state.update(f"{little.shape} {little.dtype.str};".encode())
        state.update(little.tobytes())
    return state.hexdigest()


def kept() -> dict[str, str]:
    """Read the hash of every call."""
    return json.loads(PATH.read_text(encoding="utf-8"))["hashes"] if PATH.exists() else {}


def show(name: str) -> None:
    """Print what a call is made of and what it gives."""
    call = table()[name]
    arguments, results = call.arguments(), result_of(call)
    for key, value in arguments.items():
        if isinstance(value, np.ndarray):
            value = f"{value.shape} {value.dtype}, strides {value.strides}\n{value}"
        print(f"{key} = {value}")
    for array in results:
        print(f"gives {array.shape} {array.dtype}\n{array}")
    print(f"hash {digest(results)}, kept {kept().get(name)}")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--show", metavar="NAME", help="print one call and its result")
    parser.add_argument("--write", action="store_true", help="keep the present bits")
    options = parser.parse_args()
    if options.show:
        show(options.show)
        return
    old = kept()
    new = {name: digest(result_of(call)) for name, call in table().items()}
    differing = {
        "gone": sorted(old.keys() - new.keys()),
        "added": sorted(new.keys() - old.keys()),
        "changed": [name for name in new if old.get(name, new[name]) != new[name]],
    }
    for what, names in differing.items():
        print("\n  ".join([f"{len(names)} of {len(new)} {what}", *names]))
    if options.write:
        text = json.dumps({"about": ABOUT, "hashes": new}, indent=0)
        PATH.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
