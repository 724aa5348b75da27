from typing import Any

import numpy as np
from numpy.typing import NDArray

def pool(
    features: NDArray[Any],
    images: NDArray[np.intp],
    rows: NDArray[np.intp],
    cols: NDArray[np.intp],
    out: NDArray[Any],
    num_threads: int,
) -> None: ...
