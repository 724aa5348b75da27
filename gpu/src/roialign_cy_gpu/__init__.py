"""RoI Align on CUDA devices: the ``gpu`` backend of `roialign_cy`.

There is nothing to import here: once this distribution is installed, `roialign_cy` finds it. CuPy
is not imported before the first call that needs it.
"""

from __future__ import annotations

from .backend import BACKEND

__version__ = "0.1.0"
__all__ = ["BACKEND", "__version__"]
