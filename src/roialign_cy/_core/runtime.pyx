"""What was built, what the machine has, and how many threads a team of OpenMP gets.

Compiled for the baseline, so it runs anywhere.
"""

import os
from functools import wraps

import numpy as np

from .float_mode cimport float_mode, set_mode, set_standard_mode

cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    #define HAS_OPENMP 1
    #else
    #define HAS_OPENMP 0
    static int omp_get_max_threads(void) { return 1; }
    static int omp_get_thread_limit(void) { return 1; }
    static int omp_get_max_active_levels(void) { return 1; }
    static int omp_get_num_procs(void) { return 1; }
    static int omp_in_parallel(void) { return 0; }
    #endif

    #if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
    #include <cpuid.h>
    #define HAS_CPUID 1
    static void cpuid(unsigned leaf, unsigned r[4]) {
        if (!__get_cpuid_count(leaf, 0, &r[0], &r[1], &r[2], &r[3])) r[0] = r[1] = r[2] = r[3] = 0;
    }
    static unsigned saved_registers(void) {
        unsigned low, high;
        __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        return low;
    }
    #elif defined(_M_X64)
    #include <intrin.h>
    #define HAS_CPUID 1
    static void cpuid(unsigned leaf, unsigned r[4]) { __cpuidex((int *)r, (int)leaf, 0); }
    static unsigned saved_registers(void) { return (unsigned)_xgetbv(0); }
    #else
    #define HAS_CPUID 0
    #endif

    /* Highest level of the x86-64 psABI that both the CPU and the operating system support: 4, 3,
       or 1 for the baseline (and on every other machine). Asked of the CPU itself: the compilers'
       own test of a level is younger than their flag for it. */
    static int psabi_level(void) {
    #if HAS_CPUID
        const unsigned v2_c = 1u << 0 | 1u << 9 | 1u << 13 | 1u << 19 | 1u << 20 | 1u << 23;
        /* SSE3, SSSE3, CX16, SSE4.1, SSE4.2, POPCNT; FMA, MOVBE, OSXSAVE, AVX, F16C */
        const unsigned v3_c = v2_c | 1u << 12 | 1u << 22 | 1u << 27 | 1u << 28 | 1u << 29;
        const unsigned v3_b = 1u << 3 | 1u << 5 | 1u << 8; /* BMI1, AVX2, BMI2 */
        const unsigned v4_b = /* AVX-512 F, DQ, CD, BW, VL */
            1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31;
        unsigned one[4], seven[4], extended[4];
        cpuid(1, one);
        cpuid(7, seven);
        cpuid(0x80000001u, extended);
        if ((one[2] & v3_c) != v3_c || (seven[1] & v3_b) != v3_b) return 1;
        if (!(extended[2] & 1u << 5) || !(extended[2] & 1u)) return 1; /* LZCNT, LAHF */
        if ((saved_registers() & 0x6) != 0x6) return 1;
        return (seven[1] & v4_b) == v4_b && (saved_registers() & 0xe6) == 0xe6 ? 4 : 3;
    #else
        return 1;
    #endif
    }
    """
    const char *ROIALIGN_BUILD
    const char *ROIALIGN_TYPES
    const char *ROIALIGN_VARIANTS
    bint HAS_OPENMP
    int omp_get_max_threads() nogil
    int omp_get_thread_limit() nogil
    int omp_get_max_active_levels() nogil
    int omp_get_num_procs() nogil
    int omp_in_parallel() nogil
    int psabi_level() nogil

from cpython.unicode cimport PyUnicode_AsUTF8
from libc.stdlib cimport getenv


def environment(name):
    """The value of an environment variable, or None; ``os.environ`` takes longer."""
    value = getenv(PyUnicode_AsUTF8(name))
    return None if value == NULL else value.decode(errors="surrogateescape")


_LEVELS = {"base": 1, "v3": 3, "v4": 4}


def partial_build():
    """``ROIALIGN_BUILD`` when this was built: the kernels that there are; empty if all are."""
    return ROIALIGN_BUILD.decode()


def built_variants():
    """Names of the CPU variants that this build made, slowest first."""
    return tuple(ROIALIGN_VARIANTS.decode().split())


def built_types():
    """Names of the working types that this build has kernels for."""
    return tuple(ROIALIGN_TYPES.decode().split())


def supported_variants():
    """Names of the built variants that this machine can run."""
    level = psabi_level()
    return tuple(name for name in built_variants() if _LEVELS[name] <= level)


def has_openmp():
    """Whether the build has OpenMP; without it everything runs on one thread."""
    return bool(HAS_OPENMP)


def team_size(wanted, int most):
    """Size of the team that OpenMP would start now, ``most`` at most; threadpoolctl can lower it.

    One inside a parallel region of OpenMP: a nested team would oversubscribe the machine.
    """
    cdef int size = most if wanted > most else wanted
    if omp_in_parallel() or omp_get_max_active_levels() < 1:
        return 1
    return max(1, min(size, omp_get_max_threads(), omp_get_thread_limit()))


def openmp_cpus():
    """CPUs that a team may use: the affinity of the calling thread, before OpenMP bound it."""
    return omp_get_num_procs()


# How many threads to start: no more than a busy machine has room for, nor than the system grants.
# OpenMP waits for all threads of a team. If another task keeps one of them off its CPU, that takes
# the task's time slice: several milliseconds, in which a small call could be done many times. And
# if the system refuses a thread, as limits on processes (a user's or a cgroup's) and on address
# space (for stacks) make it do, OpenMP ends the process. So threads are tried out here first.

cdef extern from *:
    """
    #if defined(_OPENMP) && !defined(_WIN32)
    #include <pthread.h>
    #include <stdlib.h>
    #ifdef __linux__
    #include <dirent.h>
    #include <sched.h>
    #include <stdio.h>
    #include <sys/stat.h>
    #include <sys/syscall.h>
    #include <time.h>
    #include <unistd.h>
    #endif

    typedef struct {
        pthread_mutex_t *gate; /* held until every thread has been started */
        pthread_t thread;
        long id;
    } Trial;

    static void *wait_at_gate(void *argument) {
        Trial *trial = argument;
    #ifdef __linux__
        trial->id = syscall(SYS_gettid);
    #endif
        pthread_mutex_lock(trial->gate);
        pthread_mutex_unlock(trial->gate);
        return NULL;
    }

    static void wait_until_gone(const Trial *trial) {
        pthread_join(trial->thread, NULL);
    #ifdef __linux__
        /* A thread that was joined still counts against the limits for a moment. */
        int tries = 1000;
        while (tries-- && syscall(SYS_tgkill, getpid(), trial->id, 0) == 0) sched_yield();
    #endif
    }

    /* What OpenMP allocates for a team and its threads, where a failure ends the process too. */
    enum { BYTES_OF_TEAM = 1 << 20, BYTES_OF_THREAD = 1 << 14 };

    /* Whether this many threads can be alive at once, besides those that are. */
    static int can_start(int number) {
        pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
        Trial *trials = malloc(number * sizeof(Trial));
        void *room = malloc(BYTES_OF_TEAM + (size_t)number * BYTES_OF_THREAD);
        int started = 0, i;
        if (trials && room) {
            pthread_mutex_lock(&gate);
            for (; started < number; started++) {
                trials[started].gate = &gate;
                if (pthread_create(&trials[started].thread, NULL, wait_at_gate, &trials[started]))
                    break;
            }
            pthread_mutex_unlock(&gate);
            for (i = 0; i < started; i++) wait_until_gone(&trials[i]);
        }
        free(room);
        free(trials);
        return started == number;
    }

    static int load_file = -1; /* a descriptor of /proc/loadavg; -1: the load does not matter */
    static int cpus_online = 0; /* of the machine */

    #ifdef __linux__
    /* CPU time of a thread in nanoseconds: the system's encoding of its clock. */
    static long long cpu_time(int thread) {
        struct timespec time;
        if (clock_gettime((clockid_t)(~(unsigned)thread << 3 | 6), &time)) return 0;
        return time.tv_sec * 1000000000LL + time.tv_nsec;
    }

    /* How many other threads of this process are on a CPU: those whose clocks advance. Counts to
       `most` and no further; 0 if the process has not as many as `least`. */
    static int own_running(int least, int most) {
        const int self = (int)syscall(SYS_gettid);
        int running = 0;
        struct dirent *entry;
        struct stat folder; /* whose links are ".", "..", this thread and the others */
        DIR *threads;
        if (stat("/proc/self/task", &folder) || (int)folder.st_nlink - 3 < least) return 0;
        if (!(threads = opendir("/proc/self/task"))) return 0;
        while (running < most && (entry = readdir(threads))) {
            int thread = atoi(entry->d_name);
            long long before = cpu_time(thread);
            if (thread && thread != self) running += cpu_time(thread) > before;
        }
        closedir(threads);
        return running;
    }

    /* How many of the wanted threads find a CPU that no other process is using or waiting for.
       Running threads of this process do not count: they are mostly those of pools, which spin for
       a moment after their work. */
    static int undisturbed_threads(int wanted) {
        char text[128];
        int running, too_many;
        ssize_t length = wanted > 1 ? pread(load_file, text, sizeof(text) - 1, 0) : 0;
        if (length <= 0) return wanted;
        text[length] = 0;
        if (sscanf(text, "%*s %*s %*s %d/", &running) != 1) return wanted;
        running--; /* this thread */
        too_many = wanted + running - cpus_online;
        if (too_many > 0) {
            too_many -= own_running(too_many - wanted + 2, too_many < running ? too_many : running);
        }
        return too_many <= 0 ? wanted : too_many < wanted ? wanted - too_many : 1;
    }
    #else
    static int undisturbed_threads(int wanted) { return wanted; }
    #endif

    /* Size of this thread's last team. OpenMP keeps its threads for the thread's next team: it ends
       those that a smaller one does not need, and starts those that a larger one lacks. */
    static __thread int team_size = 1;

    static int granted_threads(int wanted) {
        wanted = undisturbed_threads(wanted);
        if (wanted > team_size && !can_start(wanted - team_size)) return 1;
        if (wanted > 1) team_size = wanted;
        return wanted;
    }
    #else
    static int load_file, cpus_online;
    static int granted_threads(int wanted) { return wanted; }
    #endif
    """
    int load_file
    int cpus_online
    int granted_threads(int wanted) nogil


cdef int granted(int num_threads) noexcept nogil:
    """How many threads to start when ``num_threads`` are wanted.

    Fewer on a busy machine, and 1 if the system refuses to start them. Call this right before a
    team is started, and start a team of the size that it returns.
    """
    return granted_threads(num_threads)


def heed_load(path, online):
    """Have teams leave room for the tasks that a file like /proc/loadavg says are running.

    ``online`` is a file that lists the machine's CPUs, as in "0-3,8". If one of the two cannot be
    read, teams may have any size.
    """
    global load_file, cpus_online
    if load_file >= 0:
        os.close(load_file)
    load_file = -1
    try:
        with open(online) as file:
            spans = [span.partition("-") for span in file.read().split(",")]
        cpus_online = sum(int(last or first) - int(first) + 1 for first, _, last in spans)
        load_file = os.open(path, os.O_RDONLY)
    except (OSError, ValueError):
        pass


if os.environ.get("ROIALIGN_IGNORE_LOAD") != "1":
    heed_load("/proc/loadavg", "/sys/devices/system/cpu/online")


def in_standard_mode(function):
    """Have a function that computes by NumPy do so in the standard mode of float_mode.pxd.

    And in silence: infinities and NaN are values here.
    """
    in_silence = np.errstate(all="ignore")(function)

    @wraps(function)
    def compute(*args, **options):
        cdef float_mode mode = set_standard_mode()
        try:
            return in_silence(*args, **options)
        finally:
            set_mode(mode)
    return compute
