from typing import Any

from numpy.typing import NDArray

from .._spec import CallSpec

def find_fault(rois: NDArray[Any], num_images: int, spec: CallSpec) -> tuple[int, str | None]: ...
