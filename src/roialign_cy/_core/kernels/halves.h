/* Many float16 at a time to float and back, by the machine's own instructions where it has them. As
   in half.pxd, values are rounded to nearest even, and every NaN becomes the same one. */

#if defined(__F16C__) || (defined(_MSC_VER) && defined(__AVX2__))
#define HAS_HALVES 1
#include <immintrin.h>
#include <string.h>

static void load_halves(const void *from, ptrdiff_t count, float *to) {
    ptrdiff_t i = 0;
    for (; i + 8 <= count; i += 8) {
        const __m128i halves = _mm_loadu_si128((const __m128i *)((const char *)from + 2 * i));
        _mm256_storeu_ps(to + i, _mm256_cvtph_ps(halves));
    }
    if (i < count) {
        float all[8];
        char rest[16] = {0};
        memcpy(rest, (const char *)from + 2 * i, 2 * (count - i));
        _mm256_storeu_ps(all, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)rest)));
        memcpy(to + i, all, 4 * (count - i));
    }
}

static inline __m128i to_halves(const float *from) {
    const __m256 values = _mm256_loadu_ps(from);
    const __m256 is_nan = _mm256_cmp_ps(values, values, _CMP_UNORD_Q);
    const __m256 nan = _mm256_castsi256_ps(_mm256_set1_epi32(0x7FC00000));
    return _mm256_cvtps_ph(_mm256_blendv_ps(values, nan, is_nan), _MM_FROUND_TO_NEAREST_INT);
}

static void store_halves(const float *from, ptrdiff_t count, void *to) {
    ptrdiff_t i = 0;
    for (; i + 8 <= count; i += 8)
        _mm_storeu_si128((__m128i *)((char *)to + 2 * i), to_halves(from + i));
    if (i < count) {
        float rest[8] = {0};
        char halves[16];
        memcpy(rest, from + i, 4 * (count - i));
        _mm_storeu_si128((__m128i *)halves, to_halves(rest));
        memcpy((char *)to + 2 * i, halves, 2 * (count - i));
    }
}
#else
#define HAS_HALVES 0
static void load_halves(const void *from, ptrdiff_t count, float *to) {
    (void)from, (void)count, (void)to;
}
static void store_halves(const float *from, ptrdiff_t count, void *to) {
    (void)from, (void)count, (void)to;
}
#endif
