"""Pool from Zarr to Zarr on a cluster of processes, kill one of them, compare with one call.

    python examples/dask_cluster.py

makes feature maps of scikit-image's photograph of an astronaut, pools them on one worker, on two,
and on three of which one is killed in the middle, and fails if a bit differs from one call of
`roialign_cy.roi_align`. It needs scikit-image and the extra "dask".
"""

import argparse
import logging
import os
import signal
import tempfile
import time
from pathlib import Path

import dask.array as da
import numpy as np
import zarr
from distributed import Client, LocalCluster
from skimage.data import astronaut

import roialign_cy as ra
from roialign_cy.dask import roi_align

SIDE, CHANNELS = 256, 64
OPTIONS = {"output_size": 3, "convention": "mmcv", "mode": "max"}


def make_maps(path: Path, num_maps: int) -> None:
    """Write maps (N, C, H, W), one to a chunk: parts of the photograph, one colour a channel."""
    photograph = np.moveaxis(astronaut().astype(np.float32), -1, 0)
    shape = (num_maps, CHANNELS, SIDE, SIDE)
    maps = zarr.create_array(path, shape=shape, chunks=(1, *shape[1:]), dtype=np.float32)
    for image in range(num_maps):
        starts = np.random.default_rng(image).integers(
            0, photograph.shape[-1] - SIDE, (CHANNELS, 2)
        )
        maps[image] = np.stack(
            [
                photograph[channel % 3, y : y + SIDE, x : x + SIDE]
                for channel, (y, x) in enumerate(starts)
            ]
        )


def make_boxes(num_maps: int, most: int) -> list[np.ndarray]:
    """Boxes of each image, of which some have none."""
    rng = np.random.default_rng(0)
    boxes = []
    for count in rng.integers(0, most, num_maps):
        corners = rng.uniform(0, SIDE / 2, (count, 2))
        boxes.append(np.hstack([corners, corners + rng.uniform(4, SIDE / 2, (count, 2))]))
    return boxes


def die_once(maps: np.ndarray, flag: Path, block_info: dict | None = None) -> np.ndarray:
    """Give the maps on; but the first process that has those in the middle kills itself."""
    (first, _), *_ = block_info[0]["array-location"]
    if first == block_info[0]["shape"][0] // 2 and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return maps


def pool(
    workers: int, maps_path: Path, boxes: list[np.ndarray], path: Path, kill: bool = False
) -> float:
    """Pool on a cluster of processes of one thread each; how long it took in seconds."""
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,  # it misses what is killed loudly
        ) as cluster,
        Client(cluster) as client,
    ):
        client.run(roi_align.__module__.split)  # imports it, which is no part of the time
        maps = da.from_zarr(maps_path)
        if kill:
            maps = maps.map_blocks(die_once, path.with_suffix(".killed"), meta=maps)
        pooled = roi_align(maps, boxes, **OPTIONS)
        # Zarr's chunks are of one size, and workers must not share one.
        stored = pooled.rechunk({0: 1000}).to_zarr(path, compute=False)
        begin = time.perf_counter()
        client.compute(stored).result()
        return time.perf_counter() - begin


def main() -> None:
    """Do all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--maps", type=int, default=24, help="how many of 16 MiB (24)")
    parser.add_argument("--boxes", type=int, default=2000, help="of a map at most (2000)")
    options = parser.parse_args()
    boxes = make_boxes(options.maps, options.boxes)
    with tempfile.TemporaryDirectory() as folder:
        maps = Path(folder, "maps.zarr")
        make_maps(maps, options.maps)
        expected = ra.roi_align(zarr.open_array(maps)[:], boxes, **OPTIONS)
        print(f"{options.maps} maps, {len(expected)} boxes")
        for workers, kill in ((1, False), (2, False), (3, True)):
            path = Path(folder, f"pooled-{workers}.zarr")
            seconds = pool(workers, maps, boxes, path, kill)
            same = np.array_equal(zarr.open_array(path)[:], expected)
            if path.with_suffix(".killed").exists() != kill:
                raise SystemExit("no worker was killed")
            print(
                f"{workers} worker{'s' * (workers > 1)}{', one killed' * kill}: "
                f"{seconds:.1f} s, {options.maps / seconds:.2f} maps/s, "
                f"{'the same bits as' if same else 'DIFFERENT from'} one call",
                flush=True,
            )
            if not same:
                raise SystemExit(1)


if __name__ == "__main__":
    main()
