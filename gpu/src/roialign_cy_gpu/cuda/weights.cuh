// Weights of one line, made in double and rounded to the working type W as the CPU rounds them: so
// that their sum, added in that type and in the order of the cells, is the share of the section's
// samples that lie on the map. Means of ones are ones, then.

template <typename W>
__device__ double in_type(double value) {
  return (double)(W)value;
}

__device__ inline double next_below(double value, float) {
  return __int_as_float(__float_as_int((float)value) - 1);
}
__device__ inline double next_below(double value, double) {
  return __longlong_as_double(__double_as_longlong(value) - 1);
}

// The positive number next to ``weight`` that takes ``total`` to ``target`` when it rounds, or to
// the number before that, where none does.
template <typename W>
__device__ double step_to(double target, double total, double weight) {
  const double spacing = target - next_below(target, W());
  const double step = in_type<W>(target - total);
  // Half the spacing is how far a sum may lie from what it rounds to.
  const double near = in_type<W>(step + (weight > step ? 0.4375 : -0.4375) * spacing);
  if (near > 0 && in_type<W>(total + near) == target) return near;
  // Halfway, and the even one may be above.
  return in_type<W>(total + step) > target ? step - spacing : step;
}

template <typename W>
struct WeightRounder {
  double most, total, running, carry;

  // ``share`` is what the weights to come sum to.
  __device__ explicit WeightRounder(double share) : total(0), running(0), carry(0) {
    most = in_type<W>(share);
    if (most > share) most = next_below(most, W());
  }

  __device__ W take(double weight, double target) {
    double rounded = in_type<W>(weight);
    if (in_type<W>(total + rounded) != target) rounded = step_to<W>(target, total, rounded);
    total = in_type<W>(total + rounded);
    return (W)rounded;
  }

  __device__ W next(double weight) {
    const double before = running;
    running = before + weight;
    if (sizeof(W) == 8) {  // what the sum in double loses itself
      carry += before >= weight ? (before - running) + weight : (weight - running) + before;
    }
    return take(weight, fmin(in_type<W>(running + carry), most));
  }

  __device__ W last(double weight) { return take(weight, most); }
};
