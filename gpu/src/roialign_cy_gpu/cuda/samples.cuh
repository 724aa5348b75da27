// Where the samples of a section lie along one axis, and which cells they read.

enum Mode { AVG, MAX, MAX_WEIGHTED };

// The type that values of type T are weighted and summed in.
template <typename T>
struct Working {
  typedef float type;
};
template <>
struct Working<double> {
  typedef double type;
};

// Fractions of a cell below this count as zero: the smallest normal float.
[[maybe_unused]] constexpr double SMALLEST_FRACTION = 0x1p-126;

// Position of sample i of the section that begins at ``begin``. The order of operations is part
// of the definition: in another one, samples round to the other side of the map's border.
template <bool INTERIOR>
__device__ double position(double begin, double section, double samples, double i) {
  if (INTERIOR) return begin + (i + 1.0) * section / (samples + 1.0);
  return begin + (i + 0.5) * section / samples;
}

__device__ inline double section_begin(const Axis& axis, double section) {
  return axis.start + section * axis.section;
}

__device__ inline bool is_inside(double position, double size) {
  return position >= -1.0 && position <= size;
}

// The two cells that a sample inside the map is interpolated from, as offsets in elements.
template <typename W, typename Offset>
struct Taps {
  Offset low, high;
  W low_weight, high_weight;
};

// ``share`` is the sample's part of the mean.
template <Mode MODE, typename W, typename Offset>
__device__ Taps<W, Offset> find_taps(double position, Offset size, Offset stride, double share) {
  const double clamped = fmin(fmax(position, 0.0), (double)(size - 1));
  const Offset low = (Offset)clamped;
  double fraction = clamped - low;
  Taps<W, Offset> taps;
  taps.low = taps.high = low * stride;
  if (fraction >= SMALLEST_FRACTION) {
    taps.high += stride;
  } else {
    // Only one cell is read. It is halved and added to itself: exact, and without the weight 0
    // that would turn an infinity elsewhere into NaN. Weighted maxima ask for the weight itself.
    fraction = MODE == MAX_WEIGHTED ? 0.0 : 0.5;
  }
  taps.low_weight = (W)((1.0 - fraction) * share);
  taps.high_weight = (W)(fraction * share);
  return taps;
}

// Samples begin .. end - 1 of a section.
struct Range {
  long long begin, end;
};

// How many samples of a section lie below ``bound`` (or at it), counted from the low end. By
// bisection with the very formula of the positions: never by looping over samples, of which a
// huge box has as many as it has cells.
template <bool INTERIOR>
__device__ long long samples_below(
    const Axis& axis, double begin, long long samples, double bound, bool or_at) {
  long long low = 0, high = samples;
  while (low < high) {
    const long long middle = low + (high - low) / 2;
    const double i = axis.section >= 0 ? middle : samples - 1 - middle;
    const double at = position<INTERIOR>(begin, axis.section, axis.samples, i);
    if (at < bound || (or_at && at == bound)) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// The samples of a section that lie inside the map; they follow one another.
template <bool INTERIOR>
__device__ Range inside_samples(const Axis& axis, double begin, double size) {
  const long long samples = (long long)axis.samples;
  Range range = {0, samples};
  const double first = position<INTERIOR>(begin, axis.section, axis.samples, 0);
  const double last = position<INTERIOR>(begin, axis.section, axis.samples, axis.samples - 1);
  if (is_inside(first, size) && is_inside(last, size)) return range;
  const long long low = samples_below<INTERIOR>(axis, begin, samples, -1.0, false);
  const long long high = samples_below<INTERIOR>(axis, begin, samples, size, true);
  if (axis.section >= 0) {
    range.begin = low;
    range.end = high;
  } else {
    range.begin = samples - high;
    range.end = samples - low;
  }
  return range;
}
