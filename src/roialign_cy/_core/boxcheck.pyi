from typing import Any

from numpy.typing import NDArray

from .._spec import PoolSpec

def find_fault(rois: NDArray[Any], num_images: int, spec: PoolSpec) -> tuple[int, str | None]: ...
