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

template <bool INTERIOR>
__device__ Motion find_motion(
    const Axis& axis, double section, double sections, double i, double scale) {
  const double within =
      INTERIOR ? (i + 1.0) / (axis.samples + 1.0) : (i + 0.5) / axis.samples;
  const double fraction = (section + within) / sections;
  return {scale - fraction * axis.growth, fraction * axis.growth};
}

// The derivative of the interpolated value along one axis, from the right, is the difference of
// two neighbouring cells; 0 where the position is clamped or outside.
__device__ inline bool has_slope(double position, double size) {
  return position >= 0 && position < size - 1;
}

// A section's samples as one thread sees them.
template <bool INTERIOR, typename W, typename Index>
struct Sampler {
  const Box& box;
  double p, q, rows, cols, scale;
  Index height, width, row_stride, col_stride;

  // Add what sample (j, i), inside the map, contributes through one channel.
  template <typename T>
  __device__ void add(Sides& sums, const T* plane, double j, double i, W share) const {
    const double y_at =
        position<INTERIOR>(section_begin(box.y, p), box.y.section, box.y.samples, j);
    const double x_at =
        position<INTERIOR>(section_begin(box.x, q), box.x.section, box.x.samples, i);
    const Taps<W, Index> y = find_taps<MAX, W>(y_at, height, row_stride, 1.0);
    const Taps<W, Index> x = find_taps<MAX, W>(x_at, width, col_stride, 1.0);
    if (has_slope(x_at, width)) {
      const T* at = plane + x.low;
      const W left = y.low_weight * W(at[y.low]) + y.high_weight * W(at[y.high]);
      const W right = y.low_weight * W(at[y.low + col_stride]) +
                      y.high_weight * W(at[y.high + col_stride]);
      const double slope = (double)((right - left) * share);
      const Motion motion = find_motion<INTERIOR>(box.x, q, cols, i, scale);
      sums.x1 += slope * motion.by_near;
      sums.x2 += slope * motion.by_far;
    }
    if (has_slope(y_at, height)) {
      const T* at = plane + y.low;
      const W above = x.low_weight * W(at[x.low]) + x.high_weight * W(at[x.high]);
      const W below = x.low_weight * W(at[x.low + row_stride]) +
                      x.high_weight * W(at[x.high + row_stride]);
      const double slope = (double)((below - above) * share);
      const Motion motion = find_motion<INTERIOR>(box.y, p, rows, j, scale);
      sums.y1 += slope * motion.by_near;
      sums.y2 += slope * motion.by_far;
    }
  }
};

// ``parts`` has, for every box, one entry per thread that works on it.
template <Mode MODE, bool INTERIOR, bool CHANNELS_LAST, typename Index, typename T>
__device__ void add_parts(
    Index thread, const T* features, const Layout<Index>& layout, Index channels, Index height,
    Index width, const Box* boxes, double scale, const T* grad, const Layout<Index>& grad_layout,
    Index rows, Index cols, Index groups, const double* argmax_row, const double* argmax_col,
    const Layout<Index>& argmax_layout, Sides* parts) {
  typedef typename Working<T>::type W;
  Sides& part = parts[thread];
  part = {0, 0, 0, 0};
  Place<Index> place = find_place<false>(thread, groups, rows, cols);
  const Box& box = boxes[place.outer];
  if (box.image < 0) return;
  const T* image = features + (ptrdiff_t)box.image * layout.outer;
  const Sampler<INTERIOR, W, Index> sampler = {
      box, (double)place.row, (double)place.col, (double)rows, (double)cols, scale, height, width,
      layout.row, layout.col};
  const Range ys = inside_samples<INTERIOR>(box.y, section_begin(box.y, place.row), height);
  const Range xs = inside_samples<INTERIOR>(box.x, section_begin(box.x, place.col), width);
#pragma unroll 1
  for (Index channel = place.group; channel < channels; channel += groups) {
    const T* plane = image + channel * layout.channel;
    place.group = channel;
    const W value = W(*find_element(grad, grad_layout, place));
    if (MODE == AVG) {
      const W share = W((double)value / (box.y.samples * box.x.samples));
#pragma unroll 1
      for (long long j = ys.begin; j < ys.end; ++j) {
#pragma unroll 1
        for (long long i = xs.begin; i < xs.end; ++i) sampler.add(part, plane, j, i, share);
      }
    } else {
      const double j = *find_element(argmax_row, argmax_layout, place);
      const double i = *find_element(argmax_col, argmax_layout, place);
      if (j != OUTSIDE) sampler.add(part, plane, j, i, value);
    }
  }
}

// One thread per side of a box.
template <typename Index, typename R>
__device__ void add_up(Index thread, const Box* boxes, const double* parts, Index count, R* out) {
  const Index box = thread / 4;
  double sum = boxes[box].image == BAD_BOX ? CUDART_NAN : 0.0;
  const double* part = parts + (ptrdiff_t)box * count * 4 + thread % 4;
#pragma unroll 1
  for (Index i = 0; i < count; ++i) sum += part[(ptrdiff_t)i * 4];
  *out = R(sum);
}
