// The gradient with respect to the boxes' sides. Every thread sums what its section and channels
// contribute; a second kernel adds these parts up in one fixed order.

// The sums for a box's sides, in the order of its coordinates.
struct Sides {
  double x1, y1, x2, y2;
};

// What one input unit more of a side adds to the position of sample ``i`` of a section.
struct Motion {
  double by_near, by_far;
};

template <Sampling SAMPLING>
__device__ Motion find_motion(
    const Axis& axis, double section, double sections, double i, double scale) {
  const double within =
      is_interior(SAMPLING) ? (i + 1.0) / (axis.samples + 1.0) : (i + 0.5) / axis.samples;
  const double fraction = (section + within) / sections;
  return {scale - fraction * axis.growth, fraction * axis.growth};
}

// The derivative of the interpolated value along one axis, from the right, is the difference of
// two neighbouring cells, of which one may be among the zeros beyond the map; 0 where the position
// is clamped or outside.
template <Sampling SAMPLING>
__device__ bool has_slope(double position, double size) {
  return has_zeros(SAMPLING) || (position >= 0 && position < size - 1);
}

// The two cells of that difference, along one axis.
template <Sampling SAMPLING, typename Index>
struct Neighbours {
  Index offset;  // of the lower one
  bool has_low, has_high;

  __device__ Neighbours(double position, Index size, Index stride, Index offset_on_map)
      : offset(offset_on_map), has_low(true), has_high(true) {
    if (!has_zeros(SAMPLING)) return;
    const Index low = locate<SAMPLING>(position, size).low;
    offset = low * stride;
    has_low = low >= 0;
    has_high = low + 1 < size;
  }
};

// A section's samples as one thread sees them.
template <Sampling SAMPLING, typename W, typename Index>
struct Sampler {
  const Box& box;
  double p, q, rows, cols, scale;
  Index height, width, row_stride, col_stride;

  // How much the map rises between two neighbours along one axis, at a point of the other axis.
  template <typename T>
  __device__ static W rise(
      const T* plane, const Neighbours<SAMPLING, Index>& cells, Index stride,
      const Point<W, Index>& other) {
    const T* low = advance(plane, cells.offset + other.low);
    const T* high = advance(plane, cells.offset + other.high);
    W before = 0, after = 0;
    if (cells.has_low) before = other.low_weight * W(*low) + other.high_weight * W(*high);
    if (cells.has_high) {
      after = other.low_weight * W(*advance(low, stride)) +
              other.high_weight * W(*advance(high, stride));
    }
    return after - before;
  }

  // Add what sample (j, i), inside the map, contributes through one channel.
  template <typename T>
  __device__ void add(Sides& sums, const T* plane, double j, double i, W share) const {
    const double y_at =
        position<SAMPLING>(section_begin(box.y, p), box.y.section, box.y.samples, j);
    const double x_at =
        position<SAMPLING>(section_begin(box.x, q), box.x.section, box.x.samples, i);
    Point<W, Index> y = make_point<MAX, SAMPLING, W>(y_at, height, (Index)0);
    Point<W, Index> x = make_point<MAX, SAMPLING, W>(x_at, width, (Index)0);
    y.low *= row_stride;
    y.high *= row_stride;
    x.low *= col_stride;
    x.high *= col_stride;
    if (has_slope<SAMPLING>(x_at, width)) {
      const Neighbours<SAMPLING, Index> cells(x_at, width, col_stride, x.low);
      const double slope = (double)(rise(plane, cells, col_stride, y) * share);
      const Motion motion = find_motion<SAMPLING>(box.x, q, cols, i, scale);
      sums.x1 += slope * motion.by_near;
      sums.x2 += slope * motion.by_far;
    }
    if (has_slope<SAMPLING>(y_at, height)) {
      const Neighbours<SAMPLING, Index> cells(y_at, height, row_stride, y.low);
      const double slope = (double)(rise(plane, cells, row_stride, x) * share);
      const Motion motion = find_motion<SAMPLING>(box.y, p, rows, j, scale);
      sums.y1 += slope * motion.by_near;
      sums.y2 += slope * motion.by_far;
    }
  }
};

// The weight of a cell in an integral, and its derivatives by the sides of the box.
struct Slope {
  double weight, by_near, by_far;
};

__device__ inline Slope find_slope(
    const Stretch& stretch, double cell, double section, double sections, double scale) {
  const double before = section / sections, after = (section + 1) / sections;
  const double weight = integral_weight(stretch, cell), extent = stretch.high - stretch.low;
  double by_low, by_high;
  if (stretch.is_between_cells) {
    by_low = by_high = cell <= stretch.low ? -0.5 : 0.5;
  } else {
    by_low = (weight - hat(stretch.low - cell)) / extent;
    by_high = (hat(stretch.high - cell) - weight) / extent;
  }
  return {
      weight, (by_low * (1.0 - before) + by_high * (1.0 - after)) * scale,
      (by_low * before + by_high * after) * scale};
}

// Add what one channel contributes by a section that is pooled by its integral.
template <typename W, typename Index, typename T>
__device__ void add_integral(
    Sides& sums, const T* plane, const Box& box, const Place<Index>& place, Index height,
    Index width, const Layout<Index>& layout, double rows, double cols, double scale, double value) {
  const Range ys = integral_cells(box.y, place.row, height);
  const Range xs = integral_cells(box.x, place.col, width);
  const Stretch y_stretch(box.y, place.row), x_stretch(box.x, place.col);
#pragma unroll 1
  for (long long row = ys.begin; row < ys.end; ++row) {
    const Slope y = find_slope(y_stretch, row, place.row, rows, scale);
#pragma unroll 1
    for (long long col = xs.begin; col < xs.end; ++col) {
      const Slope x = find_slope(x_stretch, col, place.col, cols, scale);
      const double cell = value * (double)W(*advance(plane, row * layout.row + col * layout.col));
      sums.x1 += x.by_near * (y.weight * cell);
      sums.y1 += y.by_near * (x.weight * cell);
      sums.x2 += x.by_far * (y.weight * cell);
      sums.y2 += y.by_far * (x.weight * cell);
    }
  }
}

// ``parts`` has, for every box, one entry per thread that works on it.
template <Mode MODE, Sampling SAMPLING, bool CHANNELS_LAST, typename W, typename Index, typename T>
__device__ void add_parts(
    Index thread, const T* features, const Layout<Index>& layout, Index channels, Index height,
    Index width, const Box* boxes, double scale, const T* grad, const Layout<Index>& grad_layout,
    Index groups, const Tables<Point<W, Index>, Index>& tables, const Index* argmax,
    const Layout<Index>& argmax_layout, Sides* parts) {
  Sides& part = parts[thread];
  part = {0, 0, 0, 0};
  const Index rows = tables.rows, cols = tables.cols;
  Place<Index> place = find_place<false>(thread, groups, rows, cols);
  const Box& box = boxes[place.outer];
  if (box.image < 0) return;
  const T* image = advance(features, (ptrdiff_t)box.image * layout.outer);
  const Sampler<SAMPLING, W, Index> sampler = {
      box, (double)place.row, (double)place.col, (double)rows, (double)cols, scale, height, width,
      layout.row, layout.col};
  const Range ys = inside_samples<SAMPLING>(box.y, section_begin(box.y, place.row), height);
  const Range xs = inside_samples<SAMPLING>(box.x, section_begin(box.x, place.col), width);
  if (SAMPLING != INTEGRAL && (ys.begin >= ys.end || xs.begin >= xs.end)) return;
#pragma unroll 1
  for (Index channel = place.group; channel < channels; channel += groups) {
    const T* plane = advance(image, channel * layout.channel);
    place.group = channel;
    const W value = W(*find_element(grad, grad_layout, place));
    if constexpr (SAMPLING == INTEGRAL) {
      add_integral<W>(
          part, plane, box, place, height, width, layout, rows, cols, scale, (double)value);
    } else if constexpr (MODE == AVG) {
      const W share = W((double)value / (box.y.samples * box.x.samples));
#pragma unroll 1
      for (long long j = ys.begin; j < ys.end; ++j) {
#pragma unroll 1
        for (long long i = xs.begin; i < xs.end; ++i) sampler.add(part, plane, j, i, share);
      }
    } else {
      const Index number = *find_element(argmax, argmax_layout, place);
      if (number == OUTSIDE) continue;
      const Section<Index>* sections = tables.sections_of(place.outer);
      const Section<Index> y = sections[place.row], x = sections[rows + place.col];
      const Index j = tables.row_entries(place.outer)[y.begin + number / x.count].sample;
      const Index i = tables.col_entries(place.outer)[x.begin + number % x.count].sample;
      sampler.add(part, plane, ys.begin + j, xs.begin + i, value);
    }
  }
}

// Each thread adds up every ``threads``-th part of one side of a box. First many threads do; then one
// adds up their sums, so that no thread has to wait for many loads.
template <typename Index, typename R>
__device__ void add_up(
    Index side, Index begin, Index threads, const Box& box, const double* parts, Index count,
    R* out) {
  double sum = box.image == BAD_BOX ? CUDART_NAN : 0.0;
#pragma unroll 1
  for (Index i = begin; i < count; i += threads) sum += parts[(ptrdiff_t)i * 4 + side];
  *out = R(sum);
}
