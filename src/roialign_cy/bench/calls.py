"""A call that is ready to be timed: inputs converted, models compiled, nothing run yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class PreparedCall:
    """One pooling call with everything done that a user would do only once.

    Attributes
    ----------
    run : callable
        The call itself; it allocates its result, which may be of a foreign type.
    to_numpy : callable
        Turns such a result into a NumPy array, outside the clock.
    enter : callable
        Sets what the call needs of the process (a thread count), before the clock starts.
    """

    run: Callable[[], Any]
    to_numpy: Callable[[Any], NDArray[Any]] = np.asarray
    enter: Callable[[], None] = _nothing

    def result(self) -> NDArray[Any]:
        """Run once and give the result as a NumPy array."""
        self.enter()
        return self.to_numpy(self.run())
