/* Copies that bypass the caches. A result too large to stay in them is written to memory anyway,
   and ordinary stores would first read its lines from there, only to overwrite them. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__) || defined(_M_X64)
#ifdef __AVX__
#include <immintrin.h>
#else
#include <emmintrin.h>
#endif

static inline void stream_line(const char *from, char *to) {
#ifdef __AVX__
    for (int i = 0; i < 64; i += 32) {
        _mm256_stream_si256((__m256i *)(to + i), _mm256_loadu_si256((const __m256i *)(from + i)));
    }
#else
    for (int i = 0; i < 64; i += 16) {
        _mm_stream_si128((__m128i *)(to + i), _mm_loadu_si128((const __m128i *)(from + i)));
    }
#endif
}

/* Whole cache lines bypass the caches; the lines at either end may be shared with other data. */
static void copy_streaming(const char *from, char *to, ptrdiff_t bytes) {
    ptrdiff_t at = (ptrdiff_t)(-(uintptr_t)to & 63);
    if (at > bytes) at = bytes;
    memcpy(to, from, at);
    for (; at + 64 <= bytes; at += 64) stream_line(from + at, to + at);
    memcpy(to + at, from + at, bytes - at);
}

/* Needed before other threads may see the copy: later stores could overtake these. */
static void end_streaming(void) { _mm_sfence(); }
#else
static void copy_streaming(const char *from, char *to, ptrdiff_t bytes) { memcpy(to, from, bytes); }
static void end_streaming(void) {}
#endif
