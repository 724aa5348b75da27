/* LANES channels as one value, in as many vector registers as that takes: generic vectors, one code
   for every instruction set, unlike intrinsics. Loops over arrays would say the same, but whether a
   compiler keeps an array in registers from one iteration to the next is a matter of luck. Without
   GENERIC_VECTORS, a vector is a single value.

   REAL, the working type, is defined before this is included. Addresses need its alignment only. */

#define LANES 16 /* channels that are worked on together */

#if !defined(GENERIC_VECTORS) && defined(__GNUC__)
#define GENERIC_VECTORS 1
#endif

/* `inline` in the kernels is more than a hint: arguments that are constants have to be constants in
   the loops, too. setup.py replaces it by this; Cython's own functions keep CYTHON_INLINE. */
#if defined(__GNUC__)
#define KERNEL_INLINE inline __attribute__((always_inline, unused))
#else
#define KERNEL_INLINE CYTHON_INLINE
#endif

#if GENERIC_VECTORS
#ifdef __SSE2__
#include <immintrin.h>
#endif
#if defined(__AVX512F__)
#define PIECE_BYTES 64
#elif defined(__AVX__)
#define PIECE_BYTES 32
#else
#define PIECE_BYTES 16
#endif
#define PIECE_REALS ((int)(PIECE_BYTES / sizeof(REAL)))
typedef REAL piece __attribute__((vector_size(PIECE_BYTES)));
typedef piece unaligned_piece __attribute__((aligned(sizeof(REAL)), may_alias));
typedef __typeof__(__builtin_choose_expr(sizeof(REAL) == 4, 0, 0LL)) flag; /* as wide as REAL */
typedef flag piece_mask __attribute__((vector_size(PIECE_BYTES)));    /* all bits set where true */
typedef piece_mask unaligned_piece_mask __attribute__((aligned(sizeof(flag)), may_alias));
typedef long long wide_numbers __attribute__((vector_size(PIECE_BYTES)));
#define MASK(comparison) (comparison)
#define UNROLLED _Pragma("GCC unroll 16")
#else
#define PIECE_REALS 1
typedef REAL piece;
typedef REAL unaligned_piece;
typedef int flag;
typedef flag piece_mask;
typedef flag unaligned_piece_mask;
#define MASK(comparison) (-(comparison))
#define UNROLLED
#endif

#define PIECES (LANES / PIECE_REALS)

typedef struct {
    piece v[PIECES];
} lanes;

typedef struct {
    piece_mask v[PIECES];
} lanes_mask; /* or small whole numbers */

#define EACH_PIECE UNROLLED for (int j = 0; j < PIECES; j++)

static inline lanes load_lanes(const REAL *cell) {
    lanes x;
    EACH_PIECE x.v[j] = *(const unaligned_piece *)(cell + j * PIECE_REALS);
    return x;
}

static inline void store_lanes(REAL *cell, lanes x) {
    EACH_PIECE *(unaligned_piece *)(cell + j * PIECE_REALS) = x.v[j];
}

static inline lanes all_lanes(REAL value) {
    lanes x;
    EACH_PIECE x.v[j] = value - (piece){0};
    return x;
}

static inline lanes scaled(lanes x, REAL w) {
    EACH_PIECE x.v[j] = w * x.v[j];
    return x;
}

static inline lanes times(const REAL *cell, REAL w) { return scaled(load_lanes(cell), w); }

static inline lanes plus(lanes a, lanes b) {
    EACH_PIECE a.v[j] = a.v[j] + b.v[j];
    return a;
}

static inline lanes minus(lanes a, lanes b) {
    EACH_PIECE a.v[j] = a.v[j] - b.v[j];
    return a;
}

static inline lanes product(lanes a, lanes b) {
    EACH_PIECE a.v[j] = a.v[j] * b.v[j];
    return a;
}

static inline piece chosen_piece(piece_mask m, piece a, piece b) {
#if GENERIC_VECTORS
    return (piece)((m & (piece_mask)a) | (~m & (piece_mask)b));
#else
    return m ? a : b;
#endif
}

/* The one operation that takes an intrinsic: gcc turns a > b ? a : b into one instruction only by
   luck, and otherwise compares element by element. */
#if GENERIC_VECTORS && defined(__AVX512F__)
#define LARGER(kind) _mm512_max_##kind
typedef __m512 floats;
typedef __m512d doubles;
#elif GENERIC_VECTORS && defined(__AVX__)
#define LARGER(kind) _mm256_max_##kind
typedef __m256 floats;
typedef __m256d doubles;
#elif GENERIC_VECTORS && defined(__SSE2__)
#define LARGER(kind) _mm_max_##kind
typedef __m128 floats;
typedef __m128d doubles;
#endif

static inline piece larger_piece(piece a, piece b) {
#ifdef LARGER
    return sizeof(REAL) == 4 ? (piece)LARGER(ps)((floats)a, (floats)b)
                             : (piece)LARGER(pd)((doubles)a, (doubles)b);
#else
    return chosen_piece(MASK(a > b), a, b);
#endif
}

/* The larger of two numbers; of a number and a NaN, b. */
static inline lanes larger_lanes(lanes a, lanes b) {
    EACH_PIECE a.v[j] = larger_piece(a.v[j], b.v[j]);
    return a;
}

static inline piece_mask unordered_piece(piece a, piece b) {
#if GENERIC_VECTORS
    piece_mask r; /* gcc turns this loop into one instruction; (a != a) | (b != b) takes three */
    UNROLLED for (int i = 0; i < PIECE_REALS; i++) {
        r[i] = __builtin_isunordered(a[i], b[i]) ? -1 : 0;
    }
    return r;
#else
    return MASK((a != a) | (b != b));
#endif
}

static inline lanes_mask no_lanes(void) {
    lanes_mask m;
    EACH_PIECE m.v[j] = (piece_mask){0};
    return m;
}

static inline lanes_mask all_numbers(flag value) {
    lanes_mask m;
    EACH_PIECE m.v[j] = value - (piece_mask){0};
    return m;
}

static inline lanes_mask load_mask(const flag *cell) {
    lanes_mask m;
    EACH_PIECE m.v[j] = *(const unaligned_piece_mask *)(cell + j * PIECE_REALS);
    return m;
}

static inline void store_mask(flag *cell, lanes_mask m) {
    EACH_PIECE *(unaligned_piece_mask *)(cell + j * PIECE_REALS) = m.v[j];
}

static inline lanes_mask or_nan(lanes_mask m, lanes a, lanes b) {
    EACH_PIECE m.v[j] = m.v[j] | unordered_piece(a.v[j], b.v[j]);
    return m;
}

/* a where the mask is set, b elsewhere */
static inline lanes chosen(lanes_mask m, lanes a, lanes b) {
    EACH_PIECE a.v[j] = chosen_piece(m.v[j], a.v[j], b.v[j]);
    return a;
}

/* m where the mask is set, n elsewhere */
static inline lanes_mask chosen_numbers(lanes_mask mask, lanes_mask m, lanes_mask n) {
    EACH_PIECE m.v[j] = (mask.v[j] & m.v[j]) | (~mask.v[j] & n.v[j]);
    return m;
}

static inline lanes_mask equal_numbers(lanes_mask m, flag n) {
    EACH_PIECE m.v[j] = MASK(m.v[j] == n);
    return m;
}

/* Every NaN becomes NAN: otherwise its sign and payload would be those of either operand, whichever
   a compiler puts first. */
static inline lanes with_one_nan_in_lanes(lanes a) {
    EACH_PIECE a.v[j] = chosen_piece(unordered_piece(a.v[j], a.v[j]), NAN - (piece){0}, a.v[j]);
    return a;
}

static inline int is_any(lanes_mask m) {
    for (int j = 1; j < PIECES; j++) m.v[0] |= m.v[j];
#if GENERIC_VECTORS
    wide_numbers all = (wide_numbers)m.v[0]; /* 8 bytes at a time: fewer to look at */
    long long any = 0;
    UNROLLED for (int i = 0; i < PIECE_BYTES / 8; i++) any |= all[i];
    return any != 0;
#else
    return m.v[0] != 0;
#endif
}

/* Where a is larger than b, or is a NaN and b none. */
static inline lanes_mask is_larger(lanes a, lanes b) {
    lanes_mask m;
    EACH_PIECE {
        piece_mask is_nan = unordered_piece(a.v[j], a.v[j]);
        m.v[j] = MASK(a.v[j] > b.v[j]) | (is_nan & ~unordered_piece(b.v[j], b.v[j]));
    }
    return m;
}

/* Where a is larger than b, and neither is a NaN. */
static inline lanes_mask is_greater(lanes a, lanes b) {
    lanes_mask m;
    EACH_PIECE m.v[j] = MASK(a.v[j] > b.v[j]);
    return m;
}

/* 0 where an element is less. The sign of a zero in the result is unspecified, since compilers may
   turn this into a maximum. */
static inline lanes not_negative(lanes a) {
    EACH_PIECE a.v[j] = chosen_piece(MASK(a.v[j] < (piece){0}), (piece){0}, a.v[j]);
    return a;
}

/* a + 0, which makes -0 to +0; where the mask is set a NaN: NAN, if a is a number there */
static inline lanes plus_nan(lanes a, lanes_mask m) {
    EACH_PIECE a.v[j] = a.v[j] + chosen_piece(m.v[j], NAN - (piece){0}, (piece){0});
    return a;
}
