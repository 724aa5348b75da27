"""Processes, threads and interrupts around calls."""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import joblib
import numpy as np
import pytest

import roialign_cy as ra
from roialign_cy._core import runtime
from tests.fresh_process import ALL_CALLS, IS_SANITIZED, run

needs_openmp = pytest.mark.skipif(not runtime.has_openmp(), reason="built without OpenMP")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")

FEATURES = np.random.default_rng(0).standard_normal((2, 64, 64, 64), np.float32)
ROIS = [[k % 2, k % 7, k % 11, 30 + k % 13, 25 + k % 17] for k in range(99)]


@pytest.fixture
def two_threads(monkeypatch):
    """What new processes may use, however many cores there are."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("ROIALIGN_NUM_THREADS", raising=False)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_started_workers_use_threads_and_give_the_same_bits(method):
    expected = ra.roi_align(FEATURES, ROIS, 7, num_threads=1)
    with ProcessPoolExecutor(2, mp_context=get_context(method)) as pool:
        futures = [pool.submit(ra.roi_align, FEATURES, ROIS, 7) for _ in range(4)]
        number = pool.submit(ra.get_num_threads).result(timeout=60)
        results = [future.result(timeout=60) for future in futures]
    assert number == (2 if runtime.has_openmp() else 1)
    for result in results:
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("workers", ["loky", "threading"])
def test_nested_in_joblib(workers):
    expected = ra.roi_align(FEATURES, ROIS, 7, num_threads=1)
    inner = {"inner_max_num_threads": 2} if workers == "loky" else {}
    with joblib.parallel_config(workers, n_jobs=2, **inner), joblib.Parallel() as parallel:
        results = parallel(joblib.delayed(ra.roi_align)(FEATURES, ROIS, 7) for _ in range(4))
        numbers = parallel(joblib.delayed(ra.get_num_threads)() for _ in range(2))
    for result in results:
        np.testing.assert_array_equal(result, expected)
    if workers == "loky" and runtime.has_openmp():
        assert numbers == [2, 2]


@needs_fork
def test_child_forked_amid_the_calls_of_other_threads_gives_the_same_bits():
    code = """
    stop = threading.Event()
    def work():
        while not stop.is_set():
            all_calls(3)
    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for _ in range(8):
        child = os.fork()
        if child == 0:
            signal.alarm(60)  # where it hangs, it must not outlive the test
            os._exit(0 if all_calls(3) == expected else 3)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    stop.set()
    for worker in workers:
        worker.join()
    """
    assert run(ALL_CALLS + code, OMP_NUM_THREADS="3") == ["0"] * 8


def test_every_kind_of_call_from_many_threads():
    code = """
    from concurrent.futures import ThreadPoolExecutor
    options["num_threads"] = 3
    with ThreadPoolExecutor(6) as pool:
        for _ in range(3):
            jobs = [pool.submit(call) for _ in range(3) for call in calls()]
            print([job.result() for job in jobs] == expected * 3)
    """
    assert run(ALL_CALLS + code, OMP_NUM_THREADS="3") == ["True"] * 3


@needs_openmp
@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="reads /proc")
def test_threads_of_python_threads_that_end_do_not_pile_up():
    code = """
    import time

    def alive():
        return len(os.listdir("/proc/self/task"))

    before = alive()
    for _ in range(15):
        worker = threading.Thread(target=lambda: all_calls(4) == expected or os.abort())
        worker.start()
        worker.join()
    deadline = time.monotonic() + 60  # a team ends soon after its thread, but not with it
    while alive() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    print(alive() - before)
    """
    assert run(ALL_CALLS + code, OMP_NUM_THREADS="4") == ["0"]


@pytest.mark.skipif(os.name != "posix", reason="sends itself a signal")
def test_interrupt_is_raised_when_the_call_returns_and_harms_nothing():
    # The signal comes early in one long call, of a single batch of boxes.
    code = """
    # What starts the tests in the background has it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    maps = np.ones((1, 512, 200, 200), np.float32)
    boxes = np.tile([[0.0, 0, 0, 199, 199]], (40, 1))
    out = np.empty((40, 512, 7, 7), np.float32)

    def long_call():
        out[...] = np.nan
        ra.roi_align(maps, boxes, 7, sampling_ratio=64, mode="max", num_threads=1, out=out)

    def interrupt():
        while np.isnan(out).all():
            pass
        os.kill(os.getpid(), signal.SIGINT)

    long_call()
    right = crc(out)
    out[...] = np.nan
    killer = threading.Thread(target=interrupt)
    killer.start()
    try:
        long_call()
        print("finished")
    except KeyboardInterrupt:
        print("interrupted", crc(out) == right)
    killer.join()
    long_call()
    print(crc(out) == right, all_calls(2) == expected)
    """
    assert run(ALL_CALLS + code) == ["interrupted", "True", "True", "True"]


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads /proc")
@pytest.mark.skipif(IS_SANITIZED, reason="the sanitizer keeps what is freed")
def test_calls_and_refusals_leave_no_memory_behind():
    # Each call works in more than 100 KiB: a leak of one part in ten would show.
    code = """
    import resource

    def refused():
        for bad in ([[0, 1, 1, np.nan, 5]], [[7, 1, 1, 5, 5]], [[0, 1, 1, 5]], "boxes"):
            try:
                ra.roi_align(features, bad, 7)
            except (ValueError, TypeError):
                pass

    def pages(repeats):
        for _ in range(repeats):
            assert all_calls(1) == expected
            refused()
        return int(open("/proc/self/statm").read().split()[1])

    before = pages(5)
    print((pages(30) - before) * resource.getpagesize() < 1 << 20)
    """
    assert run(ALL_CALLS + code, OMP_NUM_THREADS="2") == ["True"]
