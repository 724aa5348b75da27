from typing import Any

from numpy.typing import NDArray

from .._spec import PoolSpec

class Taps:
    first: int
    last: int
    def __new__(
        cls,
        rois: NDArray[Any],
        first: int,
        height: int,
        width: int,
        spec: PoolSpec,
        single: bool,
        num_threads: int,
        with_slopes: bool = False,
    ) -> Taps: ...
