"""What was built, and what the machine has. Compiled for the baseline, so it runs anywhere."""

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

_LEVELS = {"base": 1, "v3": 3, "v4": 4}


def partial_build():
    """What ``ROIALIGN_BUILD`` was when this was built: of which kernels alone; empty for all."""
    return ROIALIGN_BUILD.decode()


def built_variants():
    """Names of the CPU variants that this build made, slowest first."""
    return tuple(ROIALIGN_VARIANTS.decode().split())


def built_types():
    """Names of the working types that it made them for."""
    return tuple(ROIALIGN_TYPES.decode().split())


def supported_variants():
    """Those of them that this machine can run."""
    level = psabi_level()
    return tuple(name for name in built_variants() if _LEVELS[name] <= level)


def has_openmp():
    """Whether the build has OpenMP; without it everything runs on one thread."""
    return bool(HAS_OPENMP)


def openmp_max_threads():
    """Size of the team that OpenMP would start now; threadpoolctl lowers it.

    One inside a parallel region of OpenMP: a nested team would oversubscribe the machine.
    """
    if omp_in_parallel() or omp_get_max_active_levels() < 1:
        return 1
    return min(omp_get_max_threads(), omp_get_thread_limit())


def openmp_cpus():
    """CPUs that a team may use: the affinity of the thread that asks, before OpenMP bound it."""
    return omp_get_num_procs()
