from enum import IntEnum
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .._spec import CallSpec

class Update(IntEnum):
    OVERWRITE = 0
    ZEROED = 1
    ACCUMULATE = 2

def find_fault(rois: NDArray[Any], num_images: int, spec: CallSpec) -> tuple[int, str] | None: ...
def rows_read(
    rois: NDArray[Any], height: int, width: int, spec: CallSpec, rows: NDArray[Any]
) -> None: ...
def bins_read(
    rois: NDArray[Any], height: int, width: int, spec: CallSpec, bins: NDArray[Any]
) -> None: ...

class BoxTaps:
    first: int
    last: int
    def __new__(
        cls,
        rois: NDArray[Any],
        rows: NDArray[np.intp] | None,
        height: int,
        width: int,
        spec: CallSpec,
        single: bool,
        num_threads: int,
        with_slopes: bool = False,
        first_image: int = 0,
        most_bytes: int = 0,
    ) -> Self: ...
    def next_batch(self) -> bool: ...

class Taps(BoxTaps): ...
class PointTaps(BoxTaps): ...
