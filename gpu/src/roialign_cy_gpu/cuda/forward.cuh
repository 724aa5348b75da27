// The pooled values. One thread pools LANES channels of one section; what it reads is worked out
// once for all of them.

template <typename W>
__device__ W larger(W best, W value) {
  return value > best || value != value ? value : best;  // a NaN on either side stays
}

template <typename W>
__device__ W product(W y_weight, W x_weight, W value) {
  return y_weight == 0 || x_weight == 0 ? W(0) : y_weight * x_weight * value;
}

// One sample of one channel; the pointers are to the cells (y low or high, x low or high).
template <Mode MODE, typename W, typename T, typename Offset>
__device__ W read_sample(
    const T* low_low, const T* low_high, const T* high_low, const T* high_high,
    const Taps<W, Offset>& y, const Taps<W, Offset>& x) {
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

// Take a sample into the results of all lanes.
template <Mode MODE, int LANES, typename W, typename T, typename Index>
__device__ void add_sample(
    W (&results)[LANES], const T* plane, const Taps<W, Index>& y, const Taps<W, Index>& x,
    ptrdiff_t channel_stride, const Lanes<LANES, Index>& lanes) {
  const T* low_low = plane + (y.low + x.low);
  const T* low_high = plane + (y.low + x.high);
  const T* high_low = plane + (y.high + x.low);
  const T* high_high = plane + (y.high + x.high);
#pragma unroll
  for (int lane = 0; lane < LANES; ++lane) {
    const W value = read_sample<MODE>(low_low, low_high, high_low, high_high, y, x);
    results[lane] = MODE == AVG ? results[lane] + value : larger(results[lane], value);
    const ptrdiff_t step = lanes.step(lane, channel_stride);
    low_low += step;
    low_high += step;
    high_low += step;
    high_high += step;
  }
}

// Samples known in number when the kernel is compiled: loops unrolled, columns looked up once.
// Returns whether all were inside the map.
template <
    Mode MODE, bool INTERIOR, int ROW_SAMPLES, int COL_SAMPLES, int LANES, typename W, typename T,
    typename Index>
__device__ bool add_fixed(
    W (&results)[LANES], const T* plane, const Box& box, double y_begin, double x_begin,
    Index height, Index width, const Layout<Index>& layout, const Lanes<LANES, Index>& lanes) {
  Taps<W, Index> x[COL_SAMPLES];
  bool x_inside[COL_SAMPLES];
  bool all_inside = true;
#pragma unroll
  for (int i = 0; i < COL_SAMPLES; ++i) {
    const double at = position<INTERIOR>(x_begin, box.x.section, COL_SAMPLES, i);
    x_inside[i] = is_inside(at, width);
    all_inside = all_inside && x_inside[i];
    x[i] = find_taps<MODE, W>(at, width, layout.col, MODE == AVG ? 1.0 / COL_SAMPLES : 1.0);
  }
#pragma unroll(ROW_SAMPLES <= 2 ? ROW_SAMPLES : 1)
  for (int j = 0; j < ROW_SAMPLES; ++j) {
    const double at = position<INTERIOR>(y_begin, box.y.section, ROW_SAMPLES, j);
    if (!is_inside(at, height)) {
      all_inside = false;
      continue;
    }
    const Taps<W, Index> y =
        find_taps<MODE, W>(at, height, layout.row, MODE == AVG ? 1.0 / ROW_SAMPLES : 1.0);
#pragma unroll
    for (int i = 0; i < COL_SAMPLES; ++i) {
      if (x_inside[i]) add_sample<MODE>(results, plane, y, x[i], layout.channel, lanes);
    }
  }
  return all_inside;
}

// The mean over any number of samples, as the sum over the cells that they read.
template <bool INTERIOR, int LANES, typename W, typename T, typename Index>
__device__ void add_cells(
    W (&results)[LANES], const T* plane, const Box& box, double y_begin, double x_begin,
    Index height, Index width, const Layout<Index>& layout, const Lanes<LANES, Index>& lanes) {
  const Range ys = inside_samples<INTERIOR>(box.y, y_begin, height);
  const Range xs = inside_samples<INTERIOR>(box.x, x_begin, width);
  CellWalk<INTERIOR, Index> y_walk(box.y, y_begin, height, ys);
  Index row, col;
  double y_sum, x_sum;
#pragma unroll 1
  while (y_walk.advance(row, y_sum)) {
    const W y_weight = (W)(y_sum / box.y.samples);
    CellWalk<INTERIOR, Index> x_walk(box.x, x_begin, width, xs);
#pragma unroll 1
    while (x_walk.advance(col, x_sum)) {
      const W x_weight = (W)(x_sum / box.x.samples);
      const T* cell = plane + (row * layout.row + col * layout.col);
#pragma unroll
      for (int lane = 0; lane < LANES; ++lane) {
        results[lane] += x_weight * (y_weight * W(*cell));
        cell += lanes.step(lane, layout.channel);
      }
    }
  }
}

// The maximum over any number of samples, of which only those are visited that can be it.
// Returns whether all are inside the map.
template <Mode MODE, bool INTERIOR, int LANES, typename W, typename T, typename Index>
__device__ bool add_samples(
    W (&results)[LANES], const T* plane, const Box& box, double y_begin, double x_begin,
    Index height, Index width, const Layout<Index>& layout, const Lanes<LANES, Index>& lanes) {
  const Range ys = inside_samples<INTERIOR>(box.y, y_begin, height);
  const Range xs = inside_samples<INTERIOR>(box.x, x_begin, width);
  double y_next, x_next;
#pragma unroll 1
  for (double j = ys.begin; j < ys.end; j = y_next) {
    const double y_at = position<INTERIOR>(y_begin, box.y.section, box.y.samples, j);
    const Taps<W, Index> y = find_taps<MODE, W>(y_at, height, layout.row, 1.0);
    y_next = next_extreme(box.y, j, y_at, ys.end);
#pragma unroll 1
    for (double i = xs.begin; i < xs.end; i = x_next) {
      const double x_at = position<INTERIOR>(x_begin, box.x.section, box.x.samples, i);
      const Taps<W, Index> x = find_taps<MODE, W>(x_at, width, layout.col, 1.0);
      x_next = next_extreme(box.x, i, x_at, xs.end);
      add_sample<MODE>(results, plane, y, x, layout.channel, lanes);
    }
  }
  return ys.end - ys.begin == (long long)box.y.samples &&
         xs.end - xs.begin == (long long)box.x.samples;
}

// ROW_SAMPLES and COL_SAMPLES are 0 where the boxes say how many samples there are.
template <
    Mode MODE, bool INTERIOR, int ROW_SAMPLES, int COL_SAMPLES, bool CHANNELS_LAST, int LANES,
    typename Index, typename T>
__device__ void pool(
    Index thread, const T* features, const Layout<Index>& features_layout, Index channels,
    Index height, Index width, const Box* boxes, Index rows, Index cols, Index groups, T* out,
    const Layout<Index>& out_layout) {
  typedef typename Working<T>::type W;
  const Place<Index> place = find_place<CHANNELS_LAST>(thread, groups, rows, cols);
  const Lanes<LANES, Index> lanes(place.group, groups, channels);
  const Box& box = boxes[place.outer];
  W results[LANES];
#pragma unroll
  for (int lane = 0; lane < LANES; ++lane) results[lane] = W(MODE == AVG ? 0.0 : -CUDART_INF);
  if (box.image < 0) {
#pragma unroll
    for (int lane = 0; lane < LANES; ++lane) {
      results[lane] = W(box.image == BAD_BOX ? CUDART_NAN : 0.0);
    }
  } else {
    const T* plane = features + (ptrdiff_t)box.image * features_layout.outer +
                     place.group * features_layout.channel;
    const double y_begin = section_begin(box.y, place.row);
    const double x_begin = section_begin(box.x, place.col);
    bool all_inside = true;
    if constexpr (ROW_SAMPLES > 0) {
      all_inside = add_fixed<MODE, INTERIOR, ROW_SAMPLES, COL_SAMPLES>(
          results, plane, box, y_begin, x_begin, height, width, features_layout, lanes);
    } else if constexpr (MODE == AVG) {
      add_cells<INTERIOR>(
          results, plane, box, y_begin, x_begin, height, width, features_layout, lanes);
    } else {
      all_inside = add_samples<MODE, INTERIOR>(
          results, plane, box, y_begin, x_begin, height, width, features_layout, lanes);
    }
    if (MODE != AVG) {
#pragma unroll
      for (int lane = 0; lane < LANES; ++lane) {
        // A sample outside the map counts as 0; adding 0 makes -0 one value with it.
        if (!all_inside) results[lane] = larger(results[lane], W(0));
        results[lane] = results[lane] + W(0);
      }
    }
  }
  store_lanes(results, find_element(out, out_layout, place), out_layout.channel, lanes);
}
