/* Square transposition of float tiles in vector registers, by generic vector shuffles: one code for
   every instruction set, unlike intrinsics. It is in C, as lanes.h is, because no plain loop was
   found that a compiler turns into shuffles: the best are 2 to 4 times slower, and packing and
   writing out are a third of the work of a call.

   FLOAT_TILE is the side of a tile, 0 where the compiler has no generic shuffles: then the plain
   loops do everything. */

#include <stddef.h>

/* Prefetch the cache line of an address, where the compiler can. */
#if defined(__GNUC__)
#define PREFETCH(address) __builtin_prefetch(address)
#else
#define PREFETCH(address) ((void)0)
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
static void unpack_tiles(
    const float *cells, ptrdiff_t lanes, float *const *planes, ptrdiff_t channels, ptrdiff_t count
) {
    (void)cells, (void)lanes, (void)planes, (void)channels, (void)count;
}
#else

typedef float tile_row __attribute__((vector_size(4 * FLOAT_TILE)));
typedef tile_row unaligned_row __attribute__((aligned(4), may_alias)); /* at any address */
typedef int tile_mask __attribute__((vector_size(4 * FLOAT_TILE))); /* all bits set where true */
#define SHUFFLE __builtin_shufflevector

static inline void transpose(tile_row *r) {
    tile_row s[FLOAT_TILE];
#if FLOAT_TILE == 8
    /* Within the two halves of a register first, across them last: each is one instruction then. */
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
    for (int i = 0; i < FLOAT_TILE; i++) r[i] = *(const unaligned_row *)(planes[i] + x);
    transpose(r);
    for (int i = 0; i < FLOAT_TILE; i++) *(unaligned_row *)(cells + i * lanes) = r[i];
}

/* Where either of the two is a NaN. gcc turns this loop into one instruction. */
static inline tile_mask unordered(tile_row a, tile_row b) {
    tile_mask m;
    for (int i = 0; i < FLOAT_TILE; i++) m[i] = __builtin_isunordered(a[i], b[i]) ? -1 : 0;
    return m;
}

/* planes[i][x + j] = cells[j][i] for the first `count` planes; returns where there are NaN. */
static inline tile_mask unpack_tile(
    const float *cells, ptrdiff_t lanes, float *const *planes, ptrdiff_t count, ptrdiff_t x
) {
    tile_row r[FLOAT_TILE];
    tile_mask nan = {0};
    for (int i = 0; i < FLOAT_TILE; i++) r[i] = *(const unaligned_row *)(cells + i * lanes);
    for (int i = 0; i < FLOAT_TILE; i += 2) nan |= unordered(r[i], r[i + 1]);
    transpose(r);
    if (count >= FLOAT_TILE) {
        for (int i = 0; i < FLOAT_TILE; i++) *(unaligned_row *)(planes[i] + x) = r[i];
    } else {
        for (int i = 0; i < count; i++) *(unaligned_row *)(planes[i] + x) = r[i];
    }
    return nan;
}

/* planes[i][j] = cells[j][i] for at least FLOAT_TILE cells. Every NaN becomes NAN, as by
   with_one_nan_in_lanes. */
static void unpack_tiles(
    const float *cells, ptrdiff_t lanes, float *const *planes, ptrdiff_t channels, ptrdiff_t count
) {
    tile_mask nan = {0};
    int any = 0;
    for (ptrdiff_t i = 0; i < channels; i += FLOAT_TILE) { /* fewer planes are written to in turn */
        for (ptrdiff_t x = 0; x < count; x += FLOAT_TILE) {
            if (x > count - FLOAT_TILE) x = count - FLOAT_TILE; /* overlaps the one before */
            nan |= unpack_tile(cells + x * lanes + i, lanes, planes + i, channels - i, x);
        }
    }
    for (int i = 0; i < FLOAT_TILE; i++) any |= nan[i];
    if (!any) return;
    for (ptrdiff_t i = 0; i < channels; i++) {
        for (ptrdiff_t x = 0; x < count; x++) {
            if (planes[i][x] != planes[i][x]) planes[i][x] = __builtin_nanf("");
        }
    }
}
#endif
