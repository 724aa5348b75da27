"""Blosc chunks of Zarr; truncated ones are refused.

Blosc reads as many bytes as the header of a chunk says. If there are fewer, it reads what lies
behind them in memory, and may take that for values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numcodecs
import zarr
from zarr.codecs import BloscCodec
from zarr.registry import register_codec

_SIZE = slice(12, 16)
"""Where a chunk's header holds the bytes of the chunk, little-endian."""


def _check_whole(chunk: Any) -> None:
    header = bytes(chunk[: _SIZE.stop])
    if len(chunk) < max(_SIZE.stop, int.from_bytes(header[_SIZE], "little")):
        raise ValueError(f"a chunk of it was cut short: it has {len(chunk)} bytes")


class WholeBlosc(numcodecs.Blosc):  # type: ignore[misc]
    """For the second format of Zarr."""

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Decode a chunk whose bytes are all there."""
        _check_whole(memoryview(buf).cast("B"))
        return super().decode(buf, out)


class WholeBloscCodec(BloscCodec):  # type: ignore[misc]
    """For the third format of Zarr."""

    async def decode(self, chunks_and_specs: Iterable[tuple[Any, Any]]) -> Iterable[Any]:
        """Decode chunks whose bytes are all there."""
        chunks = list(chunks_and_specs)
        for chunk, _ in chunks:
            if chunk is not None:
                _check_whole(chunk.as_numpy_array())
        decoded: Iterable[Any] = await super().decode(chunks)
        return decoded


register_codec("blosc", WholeBloscCodec)


@contextmanager
def refuse_short_chunks() -> Iterator[None]:
    """Have arrays that are opened inside this context refuse truncated chunks."""
    ours = f"{WholeBloscCodec.__module__}.{WholeBloscCodec.__qualname__}"
    numcodecs.register_codec(WholeBlosc)
    try:
        with zarr.config.set({"codecs.blosc": ours}):
            yield
    finally:
        numcodecs.register_codec(numcodecs.Blosc)
