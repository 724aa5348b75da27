"""Where the system refuses threads or memory."""

import sys

import pytest

from roialign_cy._core import runtime
from tests.fresh_process import ALL_CALLS, IS_SANITIZED, needs_libgomp, run

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="limits are set by Linux's calls"
)
needs_openmp = pytest.mark.skipif(
    not runtime.has_openmp(), reason="built without OpenMP: it never starts a thread"
)


@needs_openmp
@needs_libgomp
@pytest.mark.parametrize("team", [1, 2, 5])
def test_refused_threads_make_a_call_serial(team):
    # OpenMP itself ends the process where it may start fewer threads than a team has. It keeps
    # those of the last team, so that what the next one lacks is what matters.
    code = f"""
    import resource
    assert all_calls({team}) == expected
    present = len(os.listdir("/proc/self/task"))
    if os.geteuid() == 0:  # whom the limit does not bind
        os.setuid(65534)
    _, most = resource.getrlimit(resource.RLIMIT_NPROC)
    for more in range(8):
        resource.setrlimit(resource.RLIMIT_NPROC, (present + more, most))
        print(*(all_calls(8) == expected for _ in range(2)))
    """
    assert run(ALL_CALLS + code, OMP_NUM_THREADS="8") == ["True"] * 2 * 8


@needs_openmp
@needs_libgomp
def test_threads_come_back_when_they_are_granted_again():
    code = """
    import resource
    present = len(os.listdir("/proc/self/task"))
    _, most = resource.getrlimit(resource.RLIMIT_NPROC)
    if os.geteuid() == 0:
        os.setuid(65534)
    for limit in (1, most):
        resource.setrlimit(resource.RLIMIT_NPROC, (limit, most))
        assert all_calls(8) == expected
        print(len(os.listdir("/proc/self/task")) - present)
    """
    assert run(ALL_CALLS + code, OMP_NUM_THREADS="8") == ["0", "7"]


@needs_libgomp
@pytest.mark.skipif(IS_SANITIZED, reason="the sanitizer itself needs terabytes of addresses")
def test_refused_memory_is_a_memory_error_and_nothing_else():
    # From none to enough: the result, the tables, the scratch memory and the stacks of threads
    # are refused in turn. Whatever happens, the next call with memory is right.
    code = """
    import resource
    SIZE = 1 << 20
    outcomes = []
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    for allowed in [*range(0, 4 * SIZE, SIZE // 4), *range(4 * SIZE, 128 * SIZE, 5 * SIZE)]:
        for call, right in zip(calls(), expected):
            pages = int(open("/proc/self/statm").read().split()[0])
            limit = pages * resource.getpagesize() + allowed
            resource.setrlimit(resource.RLIMIT_AS, (limit, most))
            options["num_threads"] = 8
            try:
                outcomes.append(call() == right)
            except MemoryError:
                outcomes.append(None)
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
    print(*(outcomes.count(outcome) > 0 for outcome in (True, None, False)))
    print(all_calls(8) == expected)
    """
    assert run(ALL_CALLS + code, OMP_NUM_THREADS="8") == ["True", "True", "False", "True"]
