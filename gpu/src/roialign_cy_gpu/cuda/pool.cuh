// The pooled values. One thread pools LANES channels of one section; what it reads is in tables, the
// same for all of them.

template <typename W>
__device__ W larger(W best, W value) {
  return value > best || value != value ? value : best;  // a NaN on either side stays
}

template <typename W>
__device__ W product(W y_weight, W x_weight, W value) {
  return y_weight == 0 || x_weight == 0 ? W(0) : y_weight * x_weight * value;
}

template <int LANES, typename W>
__device__ void fill_lanes(W (&values)[LANES], W value) {
#pragma unroll
  for (int lane = 0; lane < LANES; ++lane) values[lane] = value;
}

// One channel at a point; the pointers are to its cells (y low or high, x low or high).
template <Mode MODE, typename W, typename T, typename Index>
__device__ W read_point(
    const T* low_low, const T* low_high, const T* high_low, const T* high_high,
    const Point<W, Index>& y, const Point<W, Index>& x) {
  const W ll = *low_low, lh = *low_high, hl = *high_low, hh = *high_high;
  if (MODE == MAX_WEIGHTED) {
    return larger(
        larger(product(y.low_weight, x.low_weight, ll), product(y.low_weight, x.high_weight, lh)),
        larger(
            product(y.high_weight, x.low_weight, hl), product(y.high_weight, x.high_weight, hh)));
  }
  return x.low_weight * (y.low_weight * ll + y.high_weight * hl) +
         x.high_weight * (y.low_weight * lh + y.high_weight * hh);
}

// Add a row's tap to the sums of one column, or of two that lie side by side.
template <bool IS_FIRST, int COLS, int LANES, typename W, typename Index, typename T>
__device__ void add_tap(
    W (&sums)[COLS][LANES], const T* column, const Tap<W, Index>& y, const Layout<Index>& layout,
    const Lanes<LANES, Index>& lanes) {
  const T* cell = advance(column, y.cell * layout.row);
#pragma unroll
  for (int lane = 0; lane < LANES; ++lane) {
#pragma unroll
    for (int col = 0; col < COLS; ++col) {
      const W value = y.weight * W(cell[col]);
      sums[col][lane] = IS_FIRST ? value : sums[col][lane] + value;
    }
    cell = advance(cell, lanes.step(lane, layout.channel));
  }
}

// Add the weighted sums of one or two such columns.
template <int COLS, int LANES, typename W, typename Index, typename T>
__device__ void add_columns(
    W (&results)[LANES], const T* column, const Tap<W, Index>* y_taps,
    const Tap<W, Index>* y_end, const Tap<W, Index>* x_taps, const Layout<Index>& layout,
    const Lanes<LANES, Index>& lanes) {
  W sums[COLS][LANES];
  add_tap<true>(sums, column, *y_taps, layout, lanes);
#pragma unroll 1
  for (const Tap<W, Index>* y = y_taps + 1; y != y_end; ++y) {
    add_tap<false>(sums, column, *y, layout, lanes);
  }
#pragma unroll
  for (int col = 0; col < COLS; ++col) {
    const W weight = x_taps[col].weight;
#pragma unroll
    for (int lane = 0; lane < LANES; ++lane) results[lane] += weight * sums[col][lane];
  }
}

// The sum of a section's products: columns outside, rows inside, which is the CPU's order. Neighbours
// in memory are taken IN_PAIRS: they share addresses.
template <bool IN_PAIRS, int LANES, typename W, typename Index, typename T>
__device__ void add_taps(
    W (&results)[LANES], const T* plane, const Tap<W, Index>* y_taps, Index y_count,
    const Tap<W, Index>* x_taps, Index x_count, const Layout<Index>& layout,
    const Lanes<LANES, Index>& lanes) {
  const Tap<W, Index>* const y_end = y_taps + y_count;
  const Tap<W, Index>* const x_end = x_taps + x_count;
  fill_lanes(results, -W(0));  // the zero that changes no number
#pragma unroll 1
  do {
    const Index col = x_taps->cell;
    const T* column = advance(plane, col * layout.col);
    if (IN_PAIRS && x_end - x_taps > 1 && x_taps[1].cell == col + 1) {
      add_columns<2>(results, column, y_taps, y_end, x_taps, layout, lanes);
      x_taps += 2;
    } else {
      add_columns<1>(results, column, y_taps, y_end, x_taps, layout, lanes);
      ++x_taps;
    }
  } while (x_taps != x_end);
}

template <Mode MODE, int LANES, typename W, typename Index, typename T>
__device__ void compare_points(
    W (&results)[LANES], const T* plane, const Point<W, Index>* y_points, Index y_count,
    const Point<W, Index>* x_points, Index x_count, const Layout<Index>& layout,
    const Lanes<LANES, Index>& lanes) {
#pragma unroll 1
  for (Index j = 0; j < y_count; ++j) {
    const Point<W, Index> y = y_points[j];
    const Index y_low = y.low * layout.row, y_high = y.high * layout.row;
#pragma unroll 1
    for (Index i = 0; i < x_count; ++i) {
      const Point<W, Index> x = x_points[i];
      const T* low_low = advance(plane, y_low + x.low * layout.col);
      const T* low_high = advance(plane, y_low + x.high * layout.col);
      const T* high_low = advance(plane, y_high + x.low * layout.col);
      const T* high_high = advance(plane, y_high + x.high * layout.col);
#pragma unroll
      for (int lane = 0; lane < LANES; ++lane) {
        const W value = read_point<MODE>(low_low, low_high, high_low, high_high, y, x);
        results[lane] = larger(results[lane], value);
        const ptrdiff_t step = lanes.step(lane, layout.channel);
        low_low = advance(low_low, step);
        low_high = advance(low_high, step);
        high_low = advance(high_low, step);
        high_high = advance(high_high, step);
      }
    }
  }
}

template <int LANES, typename W, typename Index, typename T>
__device__ void compare_cells(
    W (&results)[LANES], const T* plane, const Section<Index>& y, const Section<Index>& x,
    const Layout<Index>& layout, const Lanes<LANES, Index>& lanes) {
#pragma unroll 1
  for (Index row = y.first; row < y.end; ++row) {
#pragma unroll 1
    for (Index col = x.first; col < x.end; ++col) {
      const T* cell = advance(plane, row * layout.row + col * layout.col);
#pragma unroll
      for (int lane = 0; lane < LANES; ++lane) {
        results[lane] = larger(results[lane], W(*cell));
        cell = advance(cell, lanes.step(lane, layout.channel));
      }
    }
  }
}

template <
    bool IN_PAIRS, Mode MODE, bool WHOLE_CELLS, bool CHANNELS_LAST, int LANES, typename W,
    typename Index, typename T, typename Entry>
__device__ void pool(
    Index thread, const T* features, const Layout<Index>& layout, Index channels,
    const Tables<Entry, Index>& tables, Index groups, T* out, const Layout<Index>& out_layout) {
  const Place<Index> place = find_place<CHANNELS_LAST>(thread, groups, tables.rows, tables.cols);
  const Lanes<LANES, Index> lanes(place.group, groups, channels);
  const Section<Index>* sections = tables.sections_of(place.outer);
  const Section<Index> y = sections[place.row], x = sections[tables.rows + place.col];
  W results[LANES];
  if (y.count <= 0 || x.count <= 0) {
    fill_lanes(results, y.count == BAD_SECTION ? W(CUDART_NAN) : W(0));
  } else {
    const Place<Index> origin = {tables.images[place.outer], place.group, 0, 0};
    const T* plane = find_element(features, layout, origin);
    const Entry* y_entries = tables.row_entries(place.outer) + y.begin;
    const Entry* x_entries = tables.col_entries(place.outer) + x.begin;
    if constexpr (MODE == AVG) {
      add_taps<IN_PAIRS>(results, plane, y_entries, y.count, x_entries, x.count, layout, lanes);
    } else {
      // A sample outside the map counts as 0. Adding 0 in the end turns -0 into +0.
      fill_lanes(results, y.outside || x.outside ? W(0) : W(-CUDART_INF));
      if constexpr (WHOLE_CELLS) {
        compare_cells(results, plane, y, x, layout, lanes);
      } else {
        compare_points<MODE>(
            results, plane, y_entries, y.count, x_entries, x.count, layout, lanes);
      }
#pragma unroll
      for (int lane = 0; lane < LANES; ++lane) results[lane] += W(0);
    }
  }
  store_lanes(results, find_element(out, out_layout, place), out_layout.channel, lanes);
}
