"""How many threads run, where they must not, and which CPU variant does."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import roialign_cy as ra
from roialign_cy._core import runtime, threads, variants
from tests.fresh_process import LARGE_CALL, needs_libgomp, run

needs_openmp = pytest.mark.skipif(
    not runtime.has_openmp(), reason="built without OpenMP: one thread, whatever is asked for"
)
NONSENSE = ["", "0", "-3", "1.5", "many", "²", "9" * 30 + "x"]


@pytest.fixture(autouse=True)
def _default_threads():
    yield
    ra.set_num_threads(None)


@pytest.fixture
def eight_threads():
    """Let OpenMP start more threads than the machine has cores."""
    with threadpool_limits(8, user_api="openmp"):
        yield


# Numbers of threads


@needs_openmp
@pytest.mark.usefixtures("eight_threads")
def test_number_that_is_set_is_the_number_that_is_got():
    for number in 1, 5, np.int64(3):
        ra.set_num_threads(number)
        assert ra.get_num_threads() == number


def test_setting_none_returns_to_the_default():
    default = ra.get_num_threads()
    ra.set_num_threads(1)
    ra.set_num_threads(None)
    assert ra.get_num_threads() == default >= 1


@needs_openmp
@pytest.mark.usefixtures("eight_threads")
def test_number_of_the_call_goes_before_the_one_that_is_set():
    ra.set_num_threads(2)
    assert threads.effective_num_threads(5) == 5
    assert threads.effective_num_threads(None) == 2


@pytest.mark.parametrize(
    ("number", "error"),
    [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("2", TypeError), ([2], TypeError)],
)
def test_impossible_number_is_refused_and_changes_nothing(number, error):
    ra.set_num_threads(1)
    with pytest.raises(error, match="num_threads must be") as info:
        ra.set_num_threads(number)
    assert str(number) in str(info.value)
    assert ra.get_num_threads() == 1


def test_threadpoolctl_limits_every_number():
    with threadpool_limits(1, user_api="openmp"):
        ra.set_num_threads(4)
        assert ra.get_num_threads() == 1
        assert threads.effective_num_threads(4) == 1


GET = "import roialign_cy as ra; print(ra.get_num_threads())"


@needs_openmp
@pytest.mark.parametrize(
    ("environment", "number"),
    [
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": " 3 "}, 3),
        ({"OMP_NUM_THREADS": "4,2"}, 4),
        ({"ROIALIGN_NUM_THREADS": "1"}, 1),
        ({"ROIALIGN_NUM_THREADS": "5", "OMP_NUM_THREADS": "8"}, 5),
        ({"ROIALIGN_NUM_THREADS": "8", "OMP_NUM_THREADS": "3"}, 3),  # OpenMP starts no more
        ({"OMP_NUM_THREADS": "8", "OMP_THREAD_LIMIT": "3"}, 3),
        ({"OMP_NUM_THREADS": "8", "OMP_THREAD_LIMIT": "1"}, 1),
        ({"OMP_NUM_THREADS": "8", "OMP_MAX_ACTIVE_LEVELS": "0"}, 1),
        ({"ROIALIGN_NUM_THREADS": "9" * 30, "OMP_NUM_THREADS": "3"}, 3),
        *(({"ROIALIGN_NUM_THREADS": value, "OMP_NUM_THREADS": "3"}, 3) for value in NONSENSE),
    ],
    ids=str,
)
def test_environment_gives_the_default(environment, number):
    assert run(GET, **environment) == [str(number)]


@needs_openmp
@pytest.mark.parametrize("bound", [{"OMP_PROC_BIND": "true"}, {"OMP_PLACES": "cores"}], ids=str)
def test_threads_that_openmp_binds_to_cpus_are_as_many(bound):
    # It binds the main thread when it is loaded, whose affinity is then one place.
    assert run(GET, **bound) == run(GET)


@needs_openmp
def test_number_of_threads_beyond_every_machine_is_bounded():
    code = """
        import roialign_cy as ra
        from roialign_cy._core import threads
        print(ra.get_num_threads() == threads.effective_num_threads(10**6) == threads.MOST_THREADS)
    """
    assert run(code, OMP_NUM_THREADS="1000000") == ["True"]


@needs_libgomp
@pytest.mark.parametrize("value", NONSENSE)
def test_nonsense_in_the_environment_leaves_the_usable_cpus(value):
    code = """
        import roialign_cy as ra
        from roialign_cy._core import runtime, threads
        print(ra.get_num_threads(), runtime.team_size(threads.usable_cpus(), threads.MOST_THREADS))
    """
    got, expected = run(code, ROIALIGN_NUM_THREADS=value, OMP_NUM_THREADS=value)
    assert got == expected


@needs_openmp
def test_setting_goes_before_the_environment():
    code = f"import roialign_cy as ra; ra.set_num_threads(2); {GET}"
    assert run(code, ROIALIGN_NUM_THREADS="3", OMP_NUM_THREADS="8") == ["2"]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_process_bound_to_one_cpu_uses_one_thread():
    code = """
        import os
        import roialign_cy as ra
        from roialign_cy._core import threads
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        print(threads.usable_cpus(), ra.get_num_threads())
    """
    assert run(code) == ["1", "1"]


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "50000 100000\n"}, 0.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": ""}, None),
        ({"cpu.max": "what is this\n"}, None),
        ({"cpu.max": "100000 0\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "0\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "some\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "300000\n"}, None),
        (
            {
                "cpu.max": "200000 100000\n",
                "cpu/cpu.cfs_quota_us": "300000\n",
                "cpu/cpu.cfs_period_us": "100000\n",
            },
            2,
        ),
        ({}, None),
    ],
    ids=str,
)
def test_cgroup_quota_is_read_by_version_2_then_1(files, quota, tmp_path):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert threads._cgroup_quota(root=tmp_path) == quota


def test_usable_cpus_are_bounded_by_the_quota(monkeypatch):
    monkeypatch.setattr(runtime, "openmp_cpus", lambda: 6)
    for quota, cpus in [(None, 6), (0.5, 1), (1.5, 1), (4, 4), (100, 6)]:
        monkeypatch.setattr(threads, "_cgroup_quota", lambda quota=quota: quota)
        assert threads.usable_cpus() == cpus


# Where threads start

COUNT = """
    import os, numpy as np, roialign_cy as ra

    def started(**call):
        before = len(os.listdir("/proc/self/task"))
        ra.roi_align(**call, num_threads=8)
        return len(os.listdir("/proc/self/task")) - before

    small = {"features": np.ones((1, 2, 9, 9)), "rois": [[0, 1, 1, 5, 5]], "output_size": 2}
    large = {"features": np.ones((2, 64, 64, 64)), "rois": [[0, 1, 1, 50, 50]] * 99}
    print(started(**small), started(**large, output_size=7))
"""


@needs_openmp
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_threads_start_for_large_work_only():
    assert run(COUNT, OMP_NUM_THREADS="8") == ["0", "7"]
    assert run(COUNT, OMP_NUM_THREADS="1") == ["0", "0"]


# Busy machines

TEAMS = (
    LARGE_CALL
    + """
    import hashlib, sys, threading
    from roialign_cy._core import runtime

    def is_asleep(thread):
        return open(f"/proc/self/task/{thread}/stat").read().rpartition(") ")[2][0] == "S"

    def team_size():
        # Of a thread that had none before, since OpenMP keeps the threads of each, when no other
        # thread of this process runs: neither the main one nor those of the last team.
        sizes = []
        def count():
            while not is_asleep(os.getpid()):
                pass
            before = len(os.listdir("/proc/self/task"))
            ra.roi_align(features, rois[:9], 7, num_threads=4)  # few boxes: one team
            sizes.append(len(os.listdir("/proc/self/task")) - before + 1)
        while len(os.listdir("/proc/self/task")) > idle + len(computing):
            pass
        thread = threading.Thread(target=count)
        thread.start()
        thread.join()
        return sizes[0]

    computing = []
    idle = len(os.listdir("/proc/self/task"))

    def heed(running, online):
        open("load", "w").write(f"0.12 0.34 0.56 {running}/789 1011")
        open("online", "w").write(online)
        runtime.heed_load("load", "online")
"""
)
needs_proc = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


@needs_openmp
@needs_proc
def test_team_takes_the_cpus_that_no_other_process_wants(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = """
    # The call's thread is one of those running, and it wants 4.
    for running, online in [
        (1, "0-63"), (1, "0-3"), (2, "0-3"), (3, "0-1,8-9"), (4, "0-3"), (99, "0-3"),
        (61, "0-63"), (62, "0-63"), (1, "0-1"), (1, "0"), (0, "0-3"),
    ]:
        heed(running, online)
        print(team_size())
    """
    sizes = [4, 4, 3, 2, 1, 1, 4, 3, 2, 1, 4]
    assert run(TEAMS + code, OMP_NUM_THREADS="4") == [str(size) for size in sizes]


@needs_openmp
@needs_proc
def test_team_has_its_size_where_the_load_cannot_be_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = """
    for texts in ["", "what is this", "0.1 0.2 0.3", "0.1 0.2 0.3 many/789 1"]:
        heed(99, "0-3")
        open("load", "w").write(texts)
        print(team_size())
    for missing in "load", "online":
        heed(99, "0-3")
        os.remove(missing)
        runtime.heed_load("load", "online")
        print(team_size())
    heed(99, "some")
    print(team_size())
    """
    assert run(TEAMS + code, OMP_NUM_THREADS="4") == ["4"] * 7


@needs_openmp
@needs_proc
def test_own_threads_that_run_take_nothing_from_a_team(tmp_path, monkeypatch):
    # As those of other libraries' pools do for a while after their work. Whether one runs at the
    # moment it is looked at is the system's choice, so that it takes several looks.
    monkeypatch.chdir(tmp_path)
    code = """
    heed(4, "0-3")
    print(team_size())
    goes_on, data = True, bytes(1 << 20)
    def compute():
        while goes_on:
            hashlib.sha256(data)  # without the interpreter's lock
    computing.append(threading.Thread(target=compute))
    computing[0].start()
    sizes = set()
    while len(sizes) < 50 and 2 not in sizes:
        sizes.add(team_size())
    goes_on = False
    print(*sorted(sizes - {1}))
    """
    assert run(TEAMS + code, OMP_NUM_THREADS="4") == ["1", "2"]


@needs_openmp
@needs_proc
def test_no_team_starts_beside_busy_processes():
    code = """
    import subprocess
    # Until its parent is gone, whatever ended that.
    loop = "import os\\nparent = os.getppid()\\nprint(1)\\nwhile os.getppid() == parent: pass"
    busy = [
        subprocess.Popen([sys.executable, "-uc", loop], stdout=subprocess.PIPE)
        for _ in range(os.cpu_count() + 1)
    ]
    try:
        for process in busy:
            process.stdout.readline()  # from here on it is busy
        sizes = [team_size() for _ in range(5)]
    finally:
        for process in busy:
            process.kill()
            process.communicate()
    print(*sizes)
    """
    for ignored, size in [("0", "1"), ("1", "4")]:
        assert run(TEAMS + code, ROIALIGN_IGNORE_LOAD=ignored, OMP_NUM_THREADS="4") == [size] * 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_child_forked_after_use_runs_serially_and_gives_the_same_bits():
    code = (
        LARGE_CALL
        + """
    expected = call()
    threads = ra.get_num_threads()
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # where it hangs, it must not outlive the test
        os._exit(0 if call() == expected and ra.get_num_threads() == 1 else 3)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), threads == ra.get_num_threads(),
          call() == expected)
    """
    )
    assert run(code, OMP_NUM_THREADS="4") == ["0", "True", "True"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_pool_of_forked_workers_gives_the_same_bits():
    code = (
        LARGE_CALL
        + """
    import multiprocessing
    expected = call()
    with multiprocessing.get_context("fork").Pool(3, signal.alarm, (60,)) as pool:
        print(*(pool.apply(call) == expected for _ in range(6)))
    """
    )
    assert run(code, OMP_NUM_THREADS="4") == ["True"] * 6


@pytest.mark.parametrize("num_threads", [1, 4])
def test_calls_from_many_python_threads_do_not_disturb_each_other(num_threads):
    rng = np.random.default_rng(0)
    near = rng.uniform(-5, 40, (80, 2))
    rois = np.column_stack([np.zeros(80), near, near + rng.uniform(0, 30, (80, 2))])
    features = [
        rng.standard_normal((1, channels, 48, 40)).astype(dtype)
        for channels in (1, 3, 20, 70)
        for dtype in (np.float32, np.float64)
    ]

    def pool(n):
        # A limit of threadpoolctl is of the thread that sets it.
        with threadpool_limits(num_threads, user_api="openmp"):
            return ra.roi_align(features[n % 8], rois, 7, mode=["avg", "max"][n % 3 > 0])

    expected = [pool(n) for n in range(24)]
    with ThreadPoolExecutor(8) as executor:
        for n, output in enumerate(executor.map(pool, range(96))):
            np.testing.assert_array_equal(output, expected[n % 24])


# Variants


@pytest.mark.parametrize("working_type", ["float32", "float64"])
@pytest.mark.parametrize("variant", variants.promised())
def test_every_promised_variant_imports(variant, working_type):
    assert callable(variants.load(variant, working_type).forward)


def test_build_is_whole():
    assert runtime.partial_build() == "", "a partial build, made with ROIALIGN_BUILD"
    assert runtime.built_types() == ("float32", "float64")


def test_kernels_that_a_partial_build_left_out_are_named(monkeypatch):
    monkeypatch.setattr(runtime, "partial_build", lambda: "v3:float32")
    monkeypatch.setattr(runtime, "built_types", lambda: ("float32",))
    variants.load.cache_clear()
    with pytest.raises(ImportError, match=r"no float64 kernels.* ROIALIGN_BUILD=v3:float32$"):
        ra.roi_align(np.ones((1, 1, 3, 3)), [[0, 0, 0, 2, 2]], 1)


def test_partial_build_for_another_machine_is_unavailable(monkeypatch):
    monkeypatch.setattr(runtime, "partial_build", lambda: "v4")
    monkeypatch.setattr(runtime, "supported_variants", lambda: ())
    with pytest.raises(ValueError, match=r"none of the CPU variants.* ROIALIGN_BUILD=v4$"):
        variants.chosen()


def test_promised_variants_are_built_and_start_with_the_baseline():
    assert variants.promised()[0] == "base"
    assert set(variants.promised()) <= set(runtime.built_variants())


@pytest.mark.parametrize("value", [None, ""])
def test_best_variant_is_chosen_by_default(value, monkeypatch):
    if value is None:
        monkeypatch.delenv("ROIALIGN_CPU", raising=False)
    else:
        monkeypatch.setenv("ROIALIGN_CPU", value)
    assert variants.chosen() == variants.promised()[-1]


@pytest.mark.parametrize("variant", variants.promised())
def test_environment_forces_a_variant(variant):
    code = """
        import sys, numpy as np, roialign_cy as ra
        ra.roi_align(np.ones((1, 1, 3, 3)), [[0, 0, 0, 2, 2]], 1)
        print(*(name.rpartition(".")[2] for name in sys.modules if "kernels." in name))
        print(ra.backends.get("cpu").variant)
    """
    assert run(code, ROIALIGN_CPU=variant) == [f"{variant}_float64", variant]


def test_unusable_variant_in_the_environment_is_an_error_of_the_call():
    code = """
        import numpy as np, roialign_cy as ra
        ra.show_config()
        try:
            ra.roi_align(np.ones((1, 1, 3, 3)), [[0, 0, 0, 2, 2]], 1)
        except ra.BackendUnavailableError as error:
            print(error)
    """
    text = " ".join(run(code, ROIALIGN_CPU="v9000"))
    # Twice in the configuration, as the variant and as the backend's reason, once as the error.
    assert text.count("ROIALIGN_CPU must be one of 'base'") == 3
    assert "got 'v9000'" in text


def test_variant_that_the_machine_lacks_is_refused(monkeypatch):
    monkeypatch.setattr(runtime, "supported_variants", lambda: ("base",))
    monkeypatch.setenv("ROIALIGN_CPU", "v4")
    with pytest.raises(ValueError, match="ROIALIGN_CPU must be one of 'base', got 'v4'"):
        variants.chosen()
