"""Memory of large results that later ones get."""

import ctypes
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import roialign_cy as ra
from roialign_cy._core import memory
from roialign_cy._memory import _usable_memory
from tests.fresh_process import run

MIB = 1 << 20
BOXES = [[0, 0, 0, 2, 2]]


@pytest.fixture(autouse=True)
def nothing_retained():
    """Start and end with nothing retained, and room for a few results."""
    ra.set_retained_memory(0)
    ra.set_retained_memory(64 * MIB)
    yield
    ra.set_retained_memory(0)
    ra.set_retained_memory(None)


def pooled(mebibytes=8, value=1.0):
    """A result of that size, of one value."""
    maps = np.full((1, mebibytes * 4, 3, 3), value, np.float32)
    return ra.roi_align(maps, BOXES, 256, convention="detectron2", sampling_ratio=1)


def address(array):
    return array.__array_interface__["data"][0]


def test_a_freed_result_leaves_its_memory_to_the_next():
    first = pooled()
    assert first.nbytes == 8 * MIB
    place = address(first)
    del first
    assert memory.retained_memory()[0] == 8 * MIB
    second = pooled(value=2)
    assert address(second) == place
    assert memory.retained_memory()[0] == 0
    assert (second == 2).all()


def test_views_keep_the_memory_of_their_result():
    first = pooled()
    view = first[0, 3]
    place = address(first)
    del first
    second = pooled(value=2)
    assert address(second) != place
    assert (view == 1).all()


def test_results_are_arrays_like_others():
    result = pooled()
    assert result.flags.owndata
    assert result.flags.writeable
    result.resize((2, 3), refcheck=False)
    assert (result == 1).all()
    result.resize((4 * MIB,), refcheck=False)
    assert (result[:6] == 1).all()
    assert (result[6:] == 0).all()


@pytest.mark.parametrize("shape", [(1, 512, 160, 128), (1, 512, 128, 160)])
def test_gradients_are_zero_where_no_box_is(shape):
    grads = np.ones((1, 512, 1, 1), np.float32)
    place = None
    for _ in range(2):
        gradient = ra.roi_align_backward(grads, BOXES, shape, convention="detectron2")
        assert place in {None, address(gradient)}
        place = address(gradient)
        assert gradient.sum() == 512
        assert not gradient[..., 3:, :].any()
        gradient.fill(7)
        del gradient


def test_no_more_is_retained_than_was_allowed():
    held = []
    for size in [4, 9, 17, 30, 31, 5, 40, 60, 70, 8, 6]:
        pooled(size)
        held.append(memory.retained_memory()[0])
    assert max(held) <= 64 * MIB
    assert held[-1] >= 8 * MIB
    ra.set_retained_memory(10 * MIB)
    assert memory.retained_memory()[0] <= 10 * MIB
    ra.set_retained_memory(0)
    pooled(8)
    assert memory.retained_memory() == (0, 0)


def test_a_block_is_not_wasted_on_a_much_smaller_result():
    first = pooled(32)
    place = address(first)
    del first
    assert address(pooled(8)) != place
    assert address(pooled(30)) == place


def test_a_memory_handler_of_the_caller_is_asked():
    class Handler(ctypes.Structure):  # PyDataMem_Handler of NumPy's C API
        _fields_ = [("name", ctypes.c_char * 127), ("rest", ctypes.c_char * 41)]

    api = ctypes.pythonapi
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    api.PyCapsule_New.restype = ctypes.py_object
    api.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    functions = api.PyCapsule_GetPointer(np._core._multiarray_umath._ARRAY_API, None)
    of_api = ctypes.cast(functions, ctypes.POINTER(ctypes.c_void_p))
    set_handler = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(of_api[304])
    default = ctypes.cast(of_api[306], ctypes.POINTER(ctypes.py_object)).contents.value
    theirs = Handler.from_buffer_copy(
        ctypes.string_at(api.PyCapsule_GetPointer(default, b"mem_handler"), ctypes.sizeof(Handler))
    )
    theirs.name = b"of the caller"
    assert np._core.multiarray.get_handler_name(pooled()) == "roialign_cy"
    set_handler(api.PyCapsule_New(ctypes.addressof(theirs), b"mem_handler", None))
    try:
        result = pooled()
    finally:
        set_handler(default)
    assert np._core.multiarray.get_handler_name(result) == "of the caller"
    assert np._core.multiarray.get_handler_name(pooled()) == "roialign_cy"
    del result  # whose memory goes back to the handler


def test_small_results_are_not_retained():
    small = pooled(3)
    del small
    assert memory.retained_memory()[0] == 0


@pytest.mark.parametrize(
    ("value", "error"), [(-1, ValueError), (1.5, TypeError), ("1G", TypeError)]
)
def test_bad_limits_are_refused(value, error):
    with pytest.raises(error, match="max_bytes"):
        ra.set_retained_memory(value)
    assert memory.retained_memory()[1] == 64 * MIB


def test_any_integer_is_a_limit():
    ra.set_retained_memory(1 << 100)
    assert memory.retained_memory()[1] == sys.maxsize


def test_the_default_is_a_share_of_what_the_process_may_use(tmp_path):
    machine = _usable_memory(tmp_path)
    assert machine > MIB
    ra.set_retained_memory(None)
    assert memory.retained_memory()[1] <= machine // 32
    (tmp_path / "memory.max").write_text("max\n")
    assert _usable_memory(tmp_path) == machine
    (tmp_path / "memory.max").write_text("1048576\n")
    assert _usable_memory(tmp_path) == MIB


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says of its pages")
def test_the_system_may_take_retained_memory_back():
    result = pooled(32)
    del result
    smaps = Path("/proc/self/smaps_rollup").read_text()
    lazily_freed = next(line.split()[1] for line in smaps.splitlines() if "LazyFree" in line)
    assert int(lazily_freed) >= 31 * 1024


def test_many_threads():
    expected = pooled(4, 3)

    def work(size):
        for _ in range(5):
            assert (pooled(size, 3)[:, 0] == expected[:, 0]).all()
        return size

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, [4, 5, 6, 7] * 4)) == [4, 5, 6, 7] * 4
    assert memory.retained_memory()[0] <= 64 * MIB


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_threads_that_fork_wait_for_nobody():
    # Hooks of other modules, logging's for one, let threads change in the middle of a fork.
    run(
        """
        import logging, os, sys, threading
        import roialign_cy as ra
        sys.setswitchinterval(1e-5)
        def fork():
            for _ in range(60):
                pid = os.fork()
                if pid == 0:
                    os._exit(0)
                assert os.waitpid(pid, 0)[1] == 0
                ra.set_retained_memory(None)
        threads = [threading.Thread(target=fork) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        """
    )


@pytest.mark.skipif(sys.platform != "linux", reason="limits a process as Linux does")
def test_retained_memory_is_given_back_before_there_is_none():
    run(
        """
        import resource
        import numpy as np
        import roialign_cy as ra
        ra.set_retained_memory(1 << 40)
        maps = np.zeros((1, 64, 32, 32), np.float32)
        def pool(mebibytes):
            rois = np.tile(np.array([[0, 1, 1, 20, 20]], np.float32), (mebibytes * 4, 1))
            return ra.roi_align(maps, rois, 32, sampling_ratio=1, num_threads=1)
        pool(1)
        pages = int(open("/proc/self/statm").read().split()[0])
        most = pages * resource.getpagesize() + (600 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        pool(380)
        pool(490)
        ra.roi_align_backward(
            np.ones((1, 64, 1, 1), np.float32), [[0, 0, 0, 2, 2]], (1, 64, 1200, 1200),
            convention="mmcv",
        )
        """
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_has_its_own():
    result = pooled()
    place = address(result)
    del result
    child = os.fork()
    if child == 0:
        theirs = pooled(value=5)
        os._exit(0 if address(theirs) == place and (theirs == 5).all() else 1)
    ours = pooled(value=6)
    assert os.waitpid(child, 0)[1] == 0
    assert address(ours) == place
    assert (ours == 6).all()
