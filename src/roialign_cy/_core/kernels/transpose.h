/* Square transposition of float tiles in vector registers, by generic vector shuffles: one code
   for every instruction set, unlike intrinsics. It is in C, as lanes.h is, because no plain loop
   found makes a compiler emit it: the best are 2 to 4 times slower, and packing and writing out
   are a third of the work of a call.

   FLOAT_TILE is the side of a tile, 0 where the compiler has no generic shuffles: then the plain
   loops do everything. */

#include <stddef.h>

/* Have the cache line of an address on its way, where the compiler has a word for that. */
#if defined(__GNUC__)
#define FETCH_AHEAD(address) __builtin_prefetch(address)
#else
#define FETCH_AHEAD(address) ((void)0)
#endif

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#if defined(__AVX__)
#define FLOAT_TILE 8
#else
#define FLOAT_TILE 4
#endif
#endif
#endif

#ifndef FLOAT_TILE
#define FLOAT_TILE 0
static void pack_tile(const float *const *planes, ptrdiff_t x, float *cells, ptrdiff_t lanes) {
    (void)planes, (void)x, (void)cells, (void)lanes;
}
static void unpack_tile(
    const float *cells, ptrdiff_t lanes, float *const *planes, ptrdiff_t count, ptrdiff_t x
) {
    (void)cells, (void)lanes, (void)planes, (void)count, (void)x;
}
#else

typedef float tile_row __attribute__((vector_size(4 * FLOAT_TILE)));
typedef tile_row loose_row __attribute__((aligned(4), may_alias)); /* wherever it lies */
typedef int tile_mask __attribute__((vector_size(4 * FLOAT_TILE)));
#define SHUFFLE __builtin_shufflevector

static inline void transpose(tile_row *r) {
    tile_row s[FLOAT_TILE];
#if FLOAT_TILE == 8
    /* Within the two halves of a register first, across them last: so each is one instruction. */
    for (int i = 0; i < 8; i += 2) {
        s[i] = SHUFFLE(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        s[i + 1] = SHUFFLE(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
    for (int i = 0; i < 8; i += 4) {
        r[i] = SHUFFLE(s[i], s[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        r[i + 1] = SHUFFLE(s[i], s[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        r[i + 2] = SHUFFLE(s[i + 1], s[i + 3], 0, 1, 8, 9, 4, 5, 12, 13);
        r[i + 3] = SHUFFLE(s[i + 1], s[i + 3], 2, 3, 10, 11, 6, 7, 14, 15);
    }
    for (int i = 0; i < 4; i++) {
        s[i] = SHUFFLE(r[i], r[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        s[i + 4] = SHUFFLE(r[i], r[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
    for (int i = 0; i < 8; i++) r[i] = s[i];
#else
    for (int i = 0; i < 4; i += 2) {
        s[i] = SHUFFLE(r[i], r[i + 1], 0, 4, 1, 5);
        s[i + 1] = SHUFFLE(r[i], r[i + 1], 2, 6, 3, 7);
    }
    r[0] = SHUFFLE(s[0], s[2], 0, 1, 4, 5);
    r[1] = SHUFFLE(s[0], s[2], 2, 3, 6, 7);
    r[2] = SHUFFLE(s[1], s[3], 0, 1, 4, 5);
    r[3] = SHUFFLE(s[1], s[3], 2, 3, 6, 7);
#endif
}

/* cells[j][i] = planes[i][x + j]: FLOAT_TILE planes become as many lanes of cells, which lie
   `lanes` floats apart. */
static inline void pack_tile(
    const float *const *planes, ptrdiff_t x, float *cells, ptrdiff_t lanes
) {
    tile_row r[FLOAT_TILE];
    for (int i = 0; i < FLOAT_TILE; i++) r[i] = *(const loose_row *)(planes[i] + x);
    transpose(r);
    for (int i = 0; i < FLOAT_TILE; i++) *(loose_row *)(cells + i * lanes) = r[i];
}

/* NAN for every NaN: its sign and payload are those of one operand or another, as a compiler has
   them. */
static inline tile_row with_one_nan(tile_row r) {
    tile_mask is_number = r == r;
    return (tile_row)((is_number & (tile_mask)r) | (~is_number & (tile_mask)(__builtin_nanf("") - (tile_row){0})));
}

/* planes[i][x + j] = cells[j][i] for the first `count` planes; every NaN is NAN there. */
static inline void unpack_tile(
    const float *cells, ptrdiff_t lanes, float *const *planes, ptrdiff_t count, ptrdiff_t x
) {
    tile_row r[FLOAT_TILE];
    for (int i = 0; i < FLOAT_TILE; i++) r[i] = *(const loose_row *)(cells + i * lanes);
    transpose(r);
    for (int i = 0; i < FLOAT_TILE; i++) r[i] = with_one_nan(r[i]);
    if (count >= FLOAT_TILE) {
        for (int i = 0; i < FLOAT_TILE; i++) *(loose_row *)(planes[i] + x) = r[i];
    } else {
        for (int i = 0; i < count; i++) *(loose_row *)(planes[i] + x) = r[i];
    }
}
#endif
