from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

class Masks:
    def __new__(
        cls,
        masks: NDArray[Any],
        sides: NDArray[Any],
        padding: int,
        image_size: tuple[int, int],
        windows: NDArray[Any],
    ) -> Masks: ...

def paste(
    masks: Masks, targets: Sequence[NDArray[Any]], threshold: float | None, num_threads: int
) -> None: ...
def encode(
    masks: Masks, image_size: tuple[int, int], threshold: float, num_threads: int
) -> list[bytes]: ...
