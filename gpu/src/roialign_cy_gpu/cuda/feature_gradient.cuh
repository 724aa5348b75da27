// The gradient with respect to the map, gathered: one thread sums, for LANES channels of one cell,
// what every section that reads this cell passes on, boxes in the CPU's order. Nothing is added to
// memory that other threads write, so the result is the same every time.

// The weight of a cell that lies between the first and the last of these taps; 0 if it is not read.
template <typename W, typename Index>
__device__ W weight_of(Index cell, const Section<Index>& section, const Tap<W, Index>* taps) {
  // Cells ascend, most often without a gap.
  Index at = section.begin + min(cell - section.first, section.count - 1);
  while (at > section.begin && taps[at].cell > cell) --at;
  return taps[at].cell == cell ? taps[at].weight : W(0);
}

// Its weight at a point.
template <typename W, typename Index>
__device__ W weight_of(Index cell, const Point<W, Index>& point) {
  if (point.low == point.high) return cell == point.low ? 2 * point.low_weight : W(0);
  return cell == point.low ? point.low_weight : cell == point.high ? point.high_weight : W(0);
}

// The mean: sums of the sections of a row first, then the row's weight.
template <int LANES, typename W, typename Index, typename T>
__device__ void add_means(
    W (&sums)[LANES], const Place<Index>& cell, Index k, const Readers<Index>& ps,
    const Readers<Index>& qs, const Tables<Tap<W, Index>, Index>& tables, const T* grad,
    const Layout<Index>& layout, const Lanes<LANES, Index>& lanes) {
  const Section<Index>* sections = tables.sections_of(k);
#pragma unroll 1
  for (Index p = ps.begin; p < ps.end; ++p) {
    const W y_weight = weight_of(cell.row, sections[p], tables.row_entries(k));
    if (y_weight == 0) continue;
    W line[LANES];
    fill_lanes(line, -W(0));
#pragma unroll 1
    for (Index q = qs.begin; q < qs.end; ++q) {
      const W x_weight = weight_of(cell.col, sections[tables.rows + q], tables.col_entries(k));
      if (x_weight == 0) continue;
      const Place<Index> section = {k, cell.group, p, q};
      const T* element = find_element(grad, layout, section);
#pragma unroll
      for (int lane = 0; lane < LANES; ++lane) {
        line[lane] += x_weight * W(*element);
        element = advance(element, lanes.step(lane, layout.channel));
      }
    }
#pragma unroll
    for (int lane = 0; lane < LANES; ++lane) sums[lane] += y_weight * line[lane];
  }
}

// The maximum: sums of the sections of a row whose largest points are on one line of points.
template <bool WHOLE_CELLS, int LANES, typename W, typename Index, typename T>
__device__ void add_maxima(
    W (&sums)[LANES], const Place<Index>& cell, Index k, const Readers<Index>& ps,
    const Readers<Index>& qs, const Tables<Point<W, Index>, Index>& tables, const T* grad,
    const Layout<Index>& layout, const Index* argmax, const Layout<Index>& argmax_layout,
    const Lanes<LANES, Index>& lanes) {
  const Section<Index>* sections = tables.sections_of(k);
#pragma unroll 1
  for (Index p = ps.begin; p < ps.end; ++p) {
    const Section<Index> y = sections[p];
    const Index begin = WHOLE_CELLS ? cell.row - y.first : 0;
    const Index end = WHOLE_CELLS ? begin + 1 : y.count;
#pragma unroll 1
    for (Index j = begin; j < end; ++j) {
      const W y_weight =
          WHOLE_CELLS ? W(1) : weight_of(cell.row, tables.row_entries(k)[y.begin + j]);
      if (y_weight == 0) continue;
      W line[LANES];
      fill_lanes(line, W(0));
#pragma unroll 1
      for (Index q = qs.begin; q < qs.end; ++q) {
        const Section<Index> x = sections[tables.rows + q];
        const Point<W, Index>* x_points = tables.col_entries(k) + x.begin;
        const Place<Index> section = {k, cell.group, p, q};
        const T* element = find_element(grad, layout, section);
        const Index* number = find_element(argmax, argmax_layout, section);
#pragma unroll
        for (int lane = 0; lane < LANES; ++lane) {
          const Index i = *number - j * x.count;
          if (0 <= i && i < x.count) {  // not where it is outside the map
            const W x_weight =
                WHOLE_CELLS ? W(x.first + i == cell.col) : weight_of(cell.col, x_points[i]);
            if (x_weight != 0) line[lane] += x_weight * W(*element);
          }
          element = advance(element, lanes.step(lane, layout.channel));
          number = advance(number, lanes.step(lane, argmax_layout.channel));
        }
      }
#pragma unroll
      for (int lane = 0; lane < LANES; ++lane) sums[lane] += y_weight * line[lane];
    }
  }
}

template <
    Mode MODE, bool WHOLE_CELLS, bool CHANNELS_LAST, int LANES, typename W, typename Index,
    typename T, typename Entry>
__device__ void gather(
    Index thread, const T* grad, const Layout<Index>& layout, Index channels,
    const Tables<Entry, Index>& tables, const Reading<Index>& reading, Index groups,
    const Index* argmax, const Layout<Index>& argmax_layout, T* out,
    const Layout<Index>& out_layout) {
  const Place<Index> cell =
      find_place<CHANNELS_LAST>(thread, groups, reading.height, reading.width);
  const Lanes<LANES, Index> lanes(cell.group, groups, channels);
  const Index tile = (cell.outer * reading.tile_rows + cell.row / TILE_ROWS) * reading.tile_cols +
                     cell.col / TILE_COLS;
  const unsigned* masks = reading.masks + (ptrdiff_t)tile * reading.words;
  W sums[LANES];
  fill_lanes(sums, W(0));
  // Words that an image shares with its neighbours have bits of boxes of its own only.
  const Index end = (reading.begins[cell.outer + 1] + WORD - 1) / WORD;
#pragma unroll 1
  for (Index word = reading.begins[cell.outer] / WORD; word < end; ++word) {
#pragma unroll 1
    for (unsigned mask = masks[word]; mask != 0; mask &= mask - 1) {
      const Index k = reading.order[word * WORD + __popc((mask & -mask) - 1)];
      const Readers<Index>* readers =
          reading.readers + (ptrdiff_t)k * (reading.height + reading.width);
      const Readers<Index> ps = readers[cell.row], qs = readers[reading.height + cell.col];
      if (ps.begin == ps.end || qs.begin == qs.end) continue;
      if constexpr (MODE == AVG) {
        add_means(sums, cell, k, ps, qs, tables, grad, layout, lanes);
      } else {
        add_maxima<WHOLE_CELLS>(
            sums, cell, k, ps, qs, tables, grad, layout, argmax, argmax_layout, lanes);
      }
    }
  }
  store_lanes(sums, find_element(out, out_layout, cell), out_layout.channel, lanes);
}
