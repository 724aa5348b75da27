// From the caller's boxes to ours, one thread each.

// Scale, offset and least extent (-inf for none), as they are and rounded to the boxes' dtype.
struct Geometry {
  double scale, offset, min_size;
  double own_scale, own_offset, own_min_size;
};

// What differs between the axes of a call; own_sections is rounded to the boxes' dtype.
struct AxisPlan {
  double size, sections, own_sections, ratio;
};

// The boxes' dtype R is float16, float or double. CuPy defines float16 only where it is used.
template <typename R>
__device__ double exact(R value) {
  return (float)value;
}
template <>
__device__ inline double exact(double value) {
  return value;
}
template <>
__device__ inline double exact(float value) {
  // CuPy compiles with -ftz=true: a plain conversion would read a subnormal as zero.
  const unsigned bits = __float_as_uint(value);
  if (bits & 0x7f800000u) return value;
  const double magnitude = (bits & 0x007fffffu) * 0x1p-149;
  return bits >> 31 ? -magnitude : magnitude;
}

// The nearest number of type R. An operation in double that is rounded so is the operation in R:
// double has more than twice the digits, which makes the second rounding harmless.
template <typename R>
__device__ double rounded(double value) {
  return (float)R(value);
}
template <>
__device__ inline double rounded<double>(double value) {
  return value;
}
template <>
__device__ inline double rounded<float>(double value) {
  if (fabs(value) < 0x1p-126) return rint(value * 0x1p149) * 0x1p-149;
  return (float)value;
}

// The extent, rounded at every step as by libraries that compute in the boxes' dtype. The adaptive
// count follows from it, and has to jump at the same boxes as theirs.
template <typename R>
__device__ double own_extent(double near, double far, const Geometry& g) {
  const double begin = rounded<R>(rounded<R>(near * g.own_scale) - g.own_offset);
  const double end = rounded<R>(rounded<R>(far * g.own_scale) - g.own_offset);
  const double extent = rounded<R>(end - begin);
  return extent < g.own_min_size ? g.own_min_size : extent;
}

// The cell that a side lies in, as RoI Pooling rounds: in the boxes' dtype, halves away from 0.
template <typename R>
__device__ double whole_cell(double side, const Geometry& g) {
  const double scaled = rounded<R>(side * g.own_scale), whole = trunc(scaled);
  if (fabs(scaled - whole) < 0.5) return whole;
  return scaled < 0 ? whole - 1 : whole + 1;
}

// Rounded to the boxes' dtype, unless that cannot count so many sections. The last section of an
// extremely long box could end past the dtype's largest number: it ends there.
template <typename R>
__device__ double counting(double value, double sections) {
  if (sizeof(R) == 4 && sections <= 0x1p24) return fmin(rounded<R>(value), 0x1.fffffep127);
  if (sizeof(R) == 2 && sections <= 0x1p11) return fmin(rounded<R>(value), 65504.0);
  return fmin(value, 0x1.fffffffffffffp1023);
}

// Up to this many samples to a section, i + 0.5 is exact.
[[maybe_unused]] constexpr double MOST_SAMPLES = 0x1p51;

// False for a box that the CPU would refuse.
template <typename R, Sampling SAMPLING>
__device__ bool make_axis(
    double near, double far, const AxisPlan& plan, const Geometry& g, Axis& axis) {
  const double own = own_extent<R>(near, far, g);
  axis.start = near * g.scale - g.offset;
  double extent = far * g.scale - g.offset - axis.start;
  axis.growth = g.scale;
  if (extent < g.min_size) {
    extent = g.min_size;
    axis.growth = 0;
  }
  axis.section = extent / plan.sections;
  axis.samples = plan.ratio;
  if (plan.ratio == 0) axis.samples = fmax(ceil(rounded<R>(own / plan.own_sections)), 0.0);
  if (SAMPLING == CELLS) {
    axis.start = whole_cell<R>(near, g);
    const double length = whole_cell<R>(far, g) - axis.start + 1;
    axis.section =
        counting<R>(counting<R>(fmax(length, 1.0), plan.sections) / plan.sections, plan.sections);
  }
  // A NaN or an infinity anywhere shows in one of these, even if the extent was widened.
  return isfinite(far) && isfinite(own) && isfinite(axis.start) &&
         (plan.ratio != 0 || axis.samples <= MOST_SAMPLES);
}

template <typename R, Sampling SAMPLING>
__device__ void make_box(
    const R* roi, ptrdiff_t stride, double images, const AxisPlan& rows, const AxisPlan& cols,
    const Geometry& g, Box& box) {
  const double image = exact(roi[0]);
  const bool is_good_x =
      make_axis<R, SAMPLING>(exact(roi[stride]), exact(roi[3 * stride]), cols, g, box.x);
  const bool is_good_y =
      make_axis<R, SAMPLING>(exact(roi[2 * stride]), exact(roi[4 * stride]), rows, g, box.y);
  const bool is_good_image = image >= 0 && image < images && floor(image) == image;
  const bool is_empty =
      box.y.samples == 0 || box.x.samples == 0 || rows.size == 0 || cols.size == 0;
  box.image = !(is_good_image && is_good_x && is_good_y) ? BAD_BOX : is_empty ? EMPTY_BOX : image;
}
