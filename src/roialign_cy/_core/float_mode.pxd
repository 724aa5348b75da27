"""How a thread computes: by the standard, whatever others have set for it.

Rounding, and whether numbers below the smallest normal one are taken for 0, are settings of each
thread. `torch.set_flush_denormal` changes them, and so does loading a library that was compiled for
fast instead of standard arithmetic; threads of a team that were there before keep theirs. No bit
may depend on that.
"""

cdef extern from * nogil:
    """
    #if defined(__SSE2__) || defined(_M_X64)
    #include <emmintrin.h>
    typedef unsigned int float_mode;
    static inline float_mode set_standard_mode(void) {
        float_mode before = _mm_getcsr();
        _mm_setcsr(0x1F80); /* as a process begins: round to nearest, keep small numbers */
        return before;
    }
    static inline void set_mode(float_mode mode) { _mm_setcsr(mode); }
    #else
    #include <fenv.h>
    typedef fenv_t float_mode;
    static inline float_mode set_standard_mode(void) {
        float_mode before;
        fegetenv(&before);
        fesetenv(FE_DFL_ENV);
        return before;
    }
    static inline void set_mode(float_mode mode) { fesetenv(&mode); }
    #endif
    """
    ctypedef struct float_mode:
        pass
    float_mode set_standard_mode()
    void set_mode(float_mode mode)
