// Where the samples of a section lie along one axis, and which cells they read.

enum Mode { AVG, MAX, MAX_WEIGHTED };

enum Sampling {
  CENTERED,       // points at the centres of equal parts of a section
  INTERIOR,       // points where lines between equal parts cross
  CENTERED_ZERO,  // the same under a border of zeros
  INTERIOR_ZERO,
  CELLS,          // whole cells
  INTEGRAL        // the whole section
};

__device__ constexpr bool is_interior(Sampling sampling) {
  return sampling == INTERIOR || sampling == INTERIOR_ZERO;
}

// Whether points are not clamped to the map, beyond which there are zeros.
__device__ constexpr bool has_zeros(Sampling sampling) {
  return sampling == CENTERED_ZERO || sampling == INTERIOR_ZERO;
}

// Fractions of a cell below this count as zero: the smallest normal float.
[[maybe_unused]] constexpr double SMALLEST_FRACTION = 0x1p-126;

// Position of sample i of the section that begins at ``begin``. The order of operations is part
// of the definition: in another one, samples round to the other side of the map's border.
template <Sampling SAMPLING>
__device__ double position(double begin, double section, double samples, double i) {
  if (is_interior(SAMPLING)) return begin + (i + 1.0) * section / (samples + 1.0);
  return begin + (i + 0.5) * section / samples;
}

__device__ inline double section_begin(const Axis& axis, double section) {
  return axis.start + section * axis.section;
}

// Under a border of zeros, nothing is read at either end of that.
template <Sampling SAMPLING>
__device__ bool is_inside(double position, double size) {
  if (has_zeros(SAMPLING)) return position > -1.0 && position < size;
  return position >= -1.0 && position <= size;
}

// The lower cell of a sample inside the map, and the weight of the one after it; 0 if it is not
// read. Under a border of zeros one of the two may lie outside: -1, or the size.
template <typename Offset>
struct Spot {
  Offset low;
  double fraction;
};

template <Sampling SAMPLING, typename Offset>
__device__ Spot<Offset> locate(double position, Offset size) {
  if (!has_zeros(SAMPLING)) position = fmin(fmax(position, 0.0), (double)(size - 1));
  const Offset low = has_zeros(SAMPLING) && position < 0 ? -1 : (Offset)position;
  const double fraction = position - low;
  return {low, fraction >= SMALLEST_FRACTION ? fraction : 0.0};
}

// Samples begin .. end - 1 of a section.
struct Range {
  long long begin, end;
};

// How many samples of a section lie below ``bound`` (or at it), counted from the low end. By
// bisection with the very formula of the positions: never by looping over samples, of which a
// huge box has as many as it has cells.
template <Sampling SAMPLING>
__device__ long long samples_below(
    const Axis& axis, double begin, long long samples, double bound, bool or_at) {
  long long low = 0, high = samples;
  while (low < high) {
    const long long middle = low + (high - low) / 2;
    const double i = axis.section >= 0 ? middle : samples - 1 - middle;
    const double at = position<SAMPLING>(begin, axis.section, axis.samples, i);
    if (at < bound || (or_at && at == bound)) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// The samples of a section that lie inside the map; they follow one another.
template <Sampling SAMPLING>
__device__ Range inside_samples(const Axis& axis, double begin, double size) {
  const long long samples = (long long)axis.samples;
  Range range = {0, samples};
  const double first = position<SAMPLING>(begin, axis.section, axis.samples, 0);
  const double last = position<SAMPLING>(begin, axis.section, axis.samples, axis.samples - 1);
  if (is_inside<SAMPLING>(first, size) && is_inside<SAMPLING>(last, size)) return range;
  const long long low = samples_below<SAMPLING>(axis, begin, samples, -1.0, has_zeros(SAMPLING));
  const long long high =
      samples_below<SAMPLING>(axis, begin, samples, size, !has_zeros(SAMPLING));
  if (axis.section >= 0) {
    range.begin = low;
    range.end = high;
  } else {
    range.begin = samples - high;
    range.end = samples - low;
  }
  return range;
}

// Between samples of one stretch the map is linear along the axis: only the first and the last of
// them can be the largest, or have the largest weight.
template <Sampling SAMPLING>
__device__ double stretch_of(double position, double size) {
  return !has_zeros(SAMPLING) && position >= size - 1 ? size - 1 : floor(position);
}

// The last sample before ``end`` in the stretch of sample ``i``, which is at ``at``.
template <Sampling SAMPLING>
__device__ long long last_of_stretch(
    const Axis& axis, double begin, double size, long long i, double at, long long end) {
  const double cells_left = axis.section >= 0 ? floor(at) + 1 - at : at - floor(at);
  const double samples_left = floor(cells_left * axis.samples / fabs(axis.section));
  const double stretch = stretch_of<SAMPLING>(at, size);
  long long last = (long long)fmin(i + samples_left, (double)(end - 1));
  // That is an estimate, which rounding may have moved.
  const auto is_in = [&](long long sample) {
    const double there = position<SAMPLING>(begin, axis.section, axis.samples, sample);
    return stretch_of<SAMPLING>(there, size) == stretch;
  };
  while (last > i && !is_in(last)) --last;
  while (last + 1 < end && is_in(last + 1)) ++last;
  return last;
}

// How many of these samples lie on the map; one between it and the zeros around it counts in part.
template <Sampling SAMPLING, typename Offset>
__device__ double count_on_map(
    const Axis& axis, double begin, Offset size, const Range& inside) {
  if (!has_zeros(SAMPLING)) return inside.end - inside.begin;
  const bool ascends = axis.section >= 0;
  double count = 0;  // in the CPU's order, from the low end
#pragma unroll 1
  for (long long left = inside.end - inside.begin; left > 0; --left) {
    const long long i = ascends ? inside.end - left : inside.begin + left - 1;
    const Spot<Offset> spot =
        locate<SAMPLING>(position<SAMPLING>(begin, axis.section, axis.samples, i), size);
    count += spot.low < 0 ? spot.fraction : spot.low + 1 < size ? 1.0 : 1.0 - spot.fraction;
  }
  return count;
}

// Walks through the cells that a section reads along one axis, from the low end: every cell once,
// with the sum of its weights. A section of many samples reads few cells. Under a border of zeros
// these may be the cells on both sides of the map, too.
template <Sampling SAMPLING, typename Offset>
struct CellWalk {
  const Axis& axis;
  double begin;
  Offset size;
  long long next, step, left;  // samples
  Offset cell;
  double weight, weight_above;  // so far, of the cell and of the one after it
  Spot<Offset> upcoming;

  __device__ CellWalk(const Axis& axis, double begin, Offset size, const Range& inside)
      : axis(axis), begin(begin), size(size), left(inside.end - inside.begin), cell(0), weight(0),
        weight_above(0) {
    const bool ascends = axis.section >= 0;
    step = ascends ? 1 : -1;
    next = ascends ? inside.begin : inside.end - 1;
    look();
  }

  __device__ void look() {
    if (left > 0) {
      upcoming =
          locate<SAMPLING>(position<SAMPLING>(begin, axis.section, axis.samples, next), size);
    }
  }

  // Whether there was another cell; then ``offset`` and ``sum`` are its own.
  __device__ bool advance(Offset& offset, double& sum) {
    if (weight == 0) {
      if (left <= 0) return false;
      cell = upcoming.low;
    }
    while (left > 0 && upcoming.low == cell) {
      weight += 1.0 - upcoming.fraction;
      weight_above += upcoming.fraction;
      next += step;
      --left;
      look();
    }
    offset = cell;
    sum = weight;
    ++cell;
    weight = weight_above;
    weight_above = 0;
    return true;
  }
};
