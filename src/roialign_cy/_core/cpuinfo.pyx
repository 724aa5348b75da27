"""What was built, and what the machine has. Compiled for the baseline, so it runs anywhere."""

cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    #define HAS_OPENMP 1
    #else
    #define HAS_OPENMP 0
    static int omp_get_max_threads(void) { return 1; }
    static int omp_in_parallel(void) { return 0; }
    #endif

    /* Highest level of the x86-64 psABI that both the CPU and the operating system support:
       1 for the baseline (and on every other machine). */
    #if defined(__x86_64__) && defined(__GNUC__)
    static int psabi_level(void) {
        __builtin_cpu_init();
        if (__builtin_cpu_supports("x86-64-v4")) return 4;
        if (__builtin_cpu_supports("x86-64-v3")) return 3;
        return 1;
    }
    #elif defined(_M_X64)
    #include <intrin.h>
    static int psabi_level(void) {
        int leaf1[4], leaf7[4], leaf81[4];
        unsigned long long saved;
        __cpuidex(leaf1, 1, 0);
        __cpuidex(leaf7, 7, 0);
        __cpuidex(leaf81, 0x80000001, 0);
        /* FMA, MOVBE, OSXSAVE, F16C; BMI1, AVX2, BMI2; LZCNT */
        const int ecx1 = 1 << 12 | 1 << 22 | 1 << 27 | 1 << 29;
        const int ebx7 = 1 << 3 | 1 << 5 | 1 << 8;
        if ((leaf1[2] & ecx1) != ecx1 || (leaf7[1] & ebx7) != ebx7 || !(leaf81[2] & 1 << 5))
            return 1;
        saved = _xgetbv(0);
        if ((saved & 0x6) != 0x6) return 1;
        /* AVX-512 F, DQ, CD, BW, VL */
        const unsigned wide = 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31;
        return ((unsigned)leaf7[1] & wide) == wide && (saved & 0xe6) == 0xe6 ? 4 : 3;
    }
    #else
    static int psabi_level(void) { return 1; }
    #endif
    """
    const char *ROIALIGN_VARIANTS
    bint HAS_OPENMP
    int omp_get_max_threads() nogil
    int omp_in_parallel() nogil
    int psabi_level() nogil

_LEVELS = {"base": 1, "v3": 3, "v4": 4}


def built_variants():
    """Names of the CPU variants that this build made, slowest first."""
    return tuple(ROIALIGN_VARIANTS.decode().split())


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
    return 1 if omp_in_parallel() else omp_get_max_threads()
