// The gradient with respect to the map, gathered: one thread sums, for LANES channels of one cell,
// what every section that reads this cell passes on, boxes in their order. Nothing is added to
// memory that other threads write, so the result is the same every time.

// The weight of ``cell`` in a sample; 0 if it is not read.
__device__ inline double weight_of(double cell, double position, double size) {
  if (!is_inside(position, size)) return 0;
  const Spot<long long> spot = locate(position, (long long)size);
  if (cell == spot.low) return 1.0 - spot.fraction;
  return cell == spot.low + 1 ? spot.fraction : 0.0;
}

// Of ``count`` things that begin at ``begin`` and are ``extent`` apart, those that may come within
// a cell of ``cell``. Half a cell and one thing too many on either side: what rounding may move.
__device__ inline Range find_near(double cell, double begin, double extent, double count) {
  double first = 0, last = count - 1;
  if (extent != 0) {
    const double a = (cell - 1.5 - begin) / extent;
    const double b = (cell + 1.5 - begin) / extent;
    first = fmin(fmax(floor(fmin(a, b)) - 1, 0.0), count);
    last = fmax(fmin(floor(fmax(a, b)) + 1, count - 1), -1.0);
  }
  return {(long long)first, (long long)last + 1};
}

__device__ inline bool may_read(const Axis& axis, double cell) {
  return axis.lowest <= cell + 1 && axis.highest >= cell - 1;
}

// The part of a section's mean, along one axis, that is read from ``cell``.
template <bool INTERIOR>
__device__ double share_of(double cell, const Axis& axis, double section, double size) {
  const double begin = section_begin(axis, section);
  const Range near = find_near(cell, begin, axis.section / axis.samples, axis.samples);
  double sum = 0;
  for (long long i = near.begin; i < near.end; ++i) {
    const double at = position<INTERIOR>(begin, axis.section, axis.samples, i);
    sum += weight_of(cell, at, size);
  }
  return sum / axis.samples;
}

// The weight of ``cell`` in the sample that is a section's maximum.
template <bool INTERIOR>
__device__ double weight_in_maximum(
    double cell, double sample, const Axis& axis, double section, double size) {
  if (sample == OUTSIDE) return 0;
  const double begin = section_begin(axis, section);
  return weight_of(
      cell, position<INTERIOR>(begin, axis.section, axis.samples, sample), size);
}

template <
    Mode MODE, bool INTERIOR, bool CHANNELS_LAST, int LANES, typename Index, typename T>
__device__ void gather(
    Index thread, const T* grad, const Layout<Index>& grad_layout, Index channels, Index height,
    Index width, const Box* boxes, Index num_boxes, Index rows, Index cols, Index groups,
    const double* argmax_row, const double* argmax_col, const Layout<Index>& argmax_layout, T* out,
    const Layout<Index>& out_layout) {
  typedef typename Working<T>::type W;
  const Place<Index> cell = find_place<CHANNELS_LAST>(thread, groups, height, width);
  const Lanes<LANES, Index> lanes(cell.group, groups, channels);
  W sums[LANES];
#pragma unroll
  for (int lane = 0; lane < LANES; ++lane) sums[lane] = 0;
#pragma unroll 1
  for (Index k = 0; k < num_boxes; ++k) {
    const Box& box = boxes[k];
    if (box.image != cell.outer || !may_read(box.y, cell.row) || !may_read(box.x, cell.col)) {
      continue;
    }
    const Range ps = find_near(cell.row, box.y.start, box.y.section, rows);
    const Range qs = find_near(cell.col, box.x.start, box.x.section, cols);
#pragma unroll 1
    for (long long p = ps.begin; p < ps.end; ++p) {
      const W y_share = MODE == AVG ? share_of<INTERIOR>(cell.row, box.y, p, height) : 1.0;
      if (y_share == 0) continue;
#pragma unroll 1
      for (long long q = qs.begin; q < qs.end; ++q) {
        const W x_share = MODE == AVG ? share_of<INTERIOR>(cell.col, box.x, q, width) : 1.0;
        if (x_share == 0) continue;
        const Place<Index> section = {k, cell.group, (Index)p, (Index)q};
        const T* element = find_element(grad, grad_layout, section);
        if (MODE == AVG) {
#pragma unroll
          for (int lane = 0; lane < LANES; ++lane) {
            sums[lane] += x_share * (y_share * W(*element));
            element += lanes.step(lane, grad_layout.channel);
          }
        } else {
          const double* row = find_element(argmax_row, argmax_layout, section);
          const double* col = find_element(argmax_col, argmax_layout, section);
#pragma unroll 1
          for (int lane = 0; lane < LANES; ++lane) {
            const double y = weight_in_maximum<INTERIOR>(cell.row, *row, box.y, p, height);
            const double x =
                y == 0 ? 0.0 : weight_in_maximum<INTERIOR>(cell.col, *col, box.x, q, width);
            const W value = x == 0 ? W(0) : W(x) * (W(y) * W(*element));
#pragma unroll
            for (int other = 0; other < LANES; ++other) {
              if (other == lane) sums[other] += value;  // a constant index keeps it in registers
            }
            element += lanes.step(lane, grad_layout.channel);
            row += lanes.step(lane, argmax_layout.channel);
            col += lanes.step(lane, argmax_layout.channel);
          }
        }
      }
    }
  }
  store_lanes(sums, find_element(out, out_layout, cell), out_layout.channel, lanes);
}
