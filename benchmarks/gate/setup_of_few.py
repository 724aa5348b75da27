"""Runs a version's own ``setup.py`` on fewer extensions: a build takes a third of the time then.

``python setup_of_few.py KERNELS COMMAND...`` in the version's folder. KERNELS, with commas, are the
kernel modules to build, such as ``v3_float32``; the core's other modules are built too.
"""

from __future__ import annotations

import runpy
import sys
from typing import Any


def main() -> None:
    """Take the first argument away and let ``setup.py`` have the others."""
    import setuptools

    kernels = tuple(sys.argv.pop(1).split(","))
    setup = setuptools.setup

    def setup_of_few(*, ext_modules: list[setuptools.Extension], **options: Any) -> None:
        few = [
            one
            for one in ext_modules
            if ".kernels." not in one.name or one.name.rpartition(".")[2] in kernels
        ]
        setup(ext_modules=few, **options)

    setuptools.setup = setup_of_few
    sys.argv[0] = "setup.py"
    sys.path.insert(0, "")
    runpy.run_path("setup.py", run_name="__main__")


if __name__ == "__main__":
    main()
