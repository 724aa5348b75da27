// Which sample is the maximum of a section: what gradients of the maximum need. The first of
// equals, and the first NaN before any number.

// Index of a sample in its section, in float64 because a huge box has more than 2^31.
[[maybe_unused]] constexpr double OUTSIDE = -1;

template <int LANES, typename W>
struct Best {
  W value[LANES];
  double row[LANES], col[LANES];
  bool is_first;

  __device__ Best() : is_first(true) {}

  __device__ void consider(int lane, W candidate, double row_sample, double col_sample) {
    if (is_first || candidate > value[lane] ||
        (candidate != candidate && value[lane] == value[lane])) {
      value[lane] = candidate;
      row[lane] = row_sample;
      col[lane] = col_sample;
    }
  }

  // A sample outside the map counts as 0 in all channels.
  __device__ void consider_outside() {
#pragma unroll
    for (int lane = 0; lane < LANES; ++lane) consider(lane, W(0), OUTSIDE, OUTSIDE);
    is_first = false;
  }
};

// Samples outside the map lie before or after those inside; one of them, the first, stands for
// all, since only that one can be the first of equals.
struct Outsides {
  bool before, after;
  __device__ Outsides(const Range& inside, double samples)
      : before(inside.begin > 0 || inside.end <= inside.begin),
        after(!before && inside.end < (long long)samples) {}
};

template <bool INTERIOR, bool CHANNELS_LAST, int LANES, typename Index, typename T>
__device__ void find_argmax(
    Index thread, const T* features, const Layout<Index>& layout, Index channels, Index height,
    Index width, const Box* boxes, Index rows, Index cols, Index groups, double* argmax_row,
    double* argmax_col, const Layout<Index>& out_layout) {
  typedef typename Working<T>::type W;
  const Place<Index> place = find_place<CHANNELS_LAST>(thread, groups, rows, cols);
  const Lanes<LANES, Index> lanes(place.group, groups, channels);
  const Box& box = boxes[place.outer];
  if (box.image < 0) return;  // nobody asks
  const T* plane =
      features + (ptrdiff_t)box.image * layout.outer + place.group * layout.channel;
  const double y_begin = section_begin(box.y, place.row);
  const double x_begin = section_begin(box.x, place.col);
  const Range ys = inside_samples<INTERIOR>(box.y, y_begin, height);
  const Range xs = inside_samples<INTERIOR>(box.x, x_begin, width);
  const Outsides y_sides(ys, box.y.samples), x_sides(xs, box.x.samples);
  Best<LANES, W> best;
  if (y_sides.before) best.consider_outside();
#pragma unroll 1
  for (long long j = ys.begin; j < ys.end; ++j) {
    const double y_at = position<INTERIOR>(y_begin, box.y.section, box.y.samples, j);
    const Taps<W, Index> y = find_taps<MAX, W>(y_at, height, layout.row, 1.0);
    if (x_sides.before) best.consider_outside();
#pragma unroll 1
    for (long long i = xs.begin; i < xs.end; ++i) {
      const double x_at = position<INTERIOR>(x_begin, box.x.section, box.x.samples, i);
      const Taps<W, Index> x = find_taps<MAX, W>(x_at, width, layout.col, 1.0);
      const T* cell = plane;
#pragma unroll
      for (int lane = 0; lane < LANES; ++lane) {
        const W value = read_sample<MAX>(
            cell + (y.low + x.low), cell + (y.low + x.high), cell + (y.high + x.low),
            cell + (y.high + x.high), y, x);
        best.consider(lane, value, j, i);
        cell += lanes.step(lane, layout.channel);
      }
      best.is_first = false;
    }
    if (x_sides.after) best.consider_outside();
  }
  if (y_sides.after) best.consider_outside();
  store_lanes(best.row, find_element(argmax_row, out_layout, place), out_layout.channel, lanes);
  store_lanes(best.col, find_element(argmax_col, out_layout, place), out_layout.channel, lanes);
}
