// Which point, or cell, is the maximum of a section: what gradients of the maximum need. The first of
// equals, and the first NaN before any number.

// The number of a point outside the map. Others are counted row by row, as the tables have them.
[[maybe_unused]] constexpr int OUTSIDE = -1;

template <int LANES, typename W, typename Index>
struct Best {
  W value[LANES];
  Index number[LANES];
  bool is_first;

  __device__ Best() : is_first(true) {}

  __device__ void consider(int lane, W candidate, Index candidate_number) {
    if (is_first || candidate > value[lane] ||
        (candidate != candidate && value[lane] == value[lane])) {
      value[lane] = candidate;
      number[lane] = candidate_number;
    }
  }

  // A sample outside the map counts as 0 in all channels. Of several, only the first can be the first
  // of equals.
  __device__ void consider_outside() {
#pragma unroll
    for (int lane = 0; lane < LANES; ++lane) consider(lane, W(0), OUTSIDE);
    is_first = false;
  }
};

template <
    bool WHOLE_CELLS, bool CHANNELS_LAST, int LANES, typename W, typename Index, typename T>
__device__ void find_argmax(
    Index thread, const T* features, const Layout<Index>& layout, Index channels,
    const Tables<Point<W, Index>, Index>& tables, Index groups, Index* argmax,
    const Layout<Index>& argmax_layout) {
  const Place<Index> place = find_place<CHANNELS_LAST>(thread, groups, tables.rows, tables.cols);
  const Lanes<LANES, Index> lanes(place.group, groups, channels);
  const Section<Index>* sections = tables.sections_of(place.outer);
  const Section<Index> ys = sections[place.row], xs = sections[tables.rows + place.col];
  if (ys.count <= 0 || xs.count <= 0) return;  // which is never read
  const Place<Index> origin = {tables.images[place.outer], place.group, 0, 0};
  const T* plane = find_element(features, layout, origin);
  const Point<W, Index>* y_points = tables.row_entries(place.outer) + ys.begin;
  const Point<W, Index>* x_points = tables.col_entries(place.outer) + xs.begin;
  Best<LANES, W, Index> best;
  if ((ys.outside | xs.outside) & OUTSIDE_BEFORE) best.consider_outside();
#pragma unroll 1
  for (Index j = 0; j < ys.count; ++j) {
#pragma unroll 1
    for (Index i = 0; i < xs.count; ++i) {
      const T* cell = plane;
#pragma unroll
      for (int lane = 0; lane < LANES; ++lane) {
        W value;
        if constexpr (WHOLE_CELLS) {
          value = *advance(cell, (ys.first + j) * layout.row + (xs.first + i) * layout.col);
        } else {
          const Point<W, Index> y = y_points[j], x = x_points[i];
          const T* low = advance(cell, y.low * layout.row);
          const T* high = advance(cell, y.high * layout.row);
          value = read_point<MAX>(
              advance(low, x.low * layout.col), advance(low, x.high * layout.col),
              advance(high, x.low * layout.col), advance(high, x.high * layout.col), y, x);
        }
        best.consider(lane, value, j * xs.count + i);
        cell = advance(cell, lanes.step(lane, layout.channel));
      }
      best.is_first = false;
    }
    if (xs.outside & OUTSIDE_AFTER) best.consider_outside();
  }
  if (ys.outside & OUTSIDE_AFTER) best.consider_outside();
  store_lanes(best.number, find_element(argmax, argmax_layout, place), argmax_layout.channel, lanes);
}
