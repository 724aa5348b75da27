// Boxes in cells of the map. They are worked out once per call (geometry.cuh), so that the kernels
// that run per output need neither the boxes' dtype nor their checks.

struct Axis {
  double start;    // where the first section begins
  double section;  // extent of one section; negative in a reversed box
  double samples;  // per section
  double growth;   // of the whole extent per input unit of the far side; 0 where it was widened
};

struct Box {
  double image;  // its index, or one of the two below
  Axis y;
  Axis x;
};

[[maybe_unused]] constexpr double BAD_BOX = -1;  // what the CPU would refuse
[[maybe_unused]] constexpr double EMPTY_BOX = -2;  // nothing is sampled: 0
