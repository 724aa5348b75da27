// Tables of what every section reads, worked out once for each box, axis and section: in double, so
// that kernels that run per output have no need of it.

// A cell along one axis, and its weight in the mean of a section.
template <typename W, typename Index>
struct alignas(8) Tap {  // one load
  Index cell;
  W weight;
};

// A sample along one axis that can be the largest of its section, and the cells that it is
// interpolated from.
template <typename W, typename Index>
struct Point {
  Index low, high;
  W low_weight, high_weight;
  Index sample;  // its number in the section, counted from the first one on the map
};

// What a section reads along one axis: the cells first .. end - 1, or some of these, by its entries
// begin .. begin + count - 1 among those of its box. The count is 0 where it reads nothing, and
// BAD_SECTION in a box that the CPU would refuse.
template <typename Index>
struct Section {
  Index begin, count, first, end;
  Index outside;  // of OUTSIDE_BEFORE and OUTSIDE_AFTER
};

[[maybe_unused]] constexpr int BAD_SECTION = -1;
// Samples that are outside the map come before those on it, or after them; the first if none is on it.
[[maybe_unused]] constexpr int OUTSIDE_BEFORE = 1, OUTSIDE_AFTER = 2;

// The tables of all boxes. An Entry is a Tap or a Point.
template <typename Entry, typename Index>
struct Tables {
  Index rows, cols;          // sections along the axes
  Index row_room, col_room;  // for the entries of a box
  Entry* entries;            // [box][of rows, then of columns]
  Section<Index>* sections;  // [box][rows, then columns]
  Index* images;             // [box]; -1 for a bad one

  __device__ Tables(
      const void* memory, ptrdiff_t num_boxes, Index rows, Index cols, Index row_room,
      Index col_room)
      : rows(rows), cols(cols), row_room(row_room), col_room(col_room), entries((Entry*)memory),
        sections((Section<Index>*)(entries + num_boxes * (row_room + col_room))),
        images((Index*)(sections + num_boxes * (rows + cols))) {}

  __device__ Section<Index>* sections_of(Index box) const {
    return sections + (ptrdiff_t)box * (rows + cols);
  }
  __device__ Entry* row_entries(Index box) const {
    return entries + (ptrdiff_t)box * (row_room + col_room);
  }
  __device__ Entry* col_entries(Index box) const { return row_entries(box) + row_room; }
};


// Where a section begins and ends, in cells; for integrals.
struct Stretch {
  double low, high;
  bool is_between_cells;  // the map is linear in it: it may be as narrow as a point

  __device__ Stretch(const Axis& axis, double section)
      : low(section_begin(axis, section)), high(section_begin(axis, section + 1)),
        is_between_cells(high <= floor(low) + 1.0) {}
};

__device__ inline double hat(double distance) { return fmax(1.0 - fabs(distance), 0.0); }

// The integral of a cell's hat on one side of it. (A difference of two would cancel.)
__device__ inline double integral_between(double low, double high, double cell) {
  return low < high ? (high - low) * hat((low + high) / 2.0 - cell) : 0.0;
}

// The weight of a cell in the exact mean over a section.
__device__ inline double integral_weight(const Stretch& stretch, double cell) {
  const double low = stretch.low, high = stretch.high;
  double weight;
  if (stretch.is_between_cells) {
    weight = (low + high) / 2.0 - floor(low);  // of the upper of the two
    if (cell <= low) weight = 1.0 - weight;
  } else {
    weight = integral_between(fmax(low, cell - 1.0), fmin(high, cell), cell);
    weight += integral_between(fmax(low, cell), fmin(high, cell + 1.0), cell);
    weight /= high - low;
  }
  return weight >= SMALLEST_FRACTION ? weight : 0.0;
}

__device__ inline Range integral_cells(const Axis& axis, double section, double size) {
  if (axis.section <= 0) return {0, 0};
  const Stretch stretch(axis, section);
  if (stretch.low >= size || stretch.high <= -1.0) return {0, 0};
  Range cells = {
      (long long)fmax(floor(stretch.low), 0.0),
      (long long)fmin(ceil(stretch.high) + 1.0, size)};
  while (cells.begin < cells.end && integral_weight(stretch, cells.begin) == 0) ++cells.begin;
  while (cells.begin < cells.end && integral_weight(stretch, cells.end - 1) == 0) --cells.end;
  return cells;
}

template <typename R>
__device__ Range whole_cells(const Axis& axis, double section, double sections, double size) {
  const double low = counting<R>(section * axis.section, sections);
  const double high = counting<R>((section + 1) * axis.section, sections);
  return {
      (long long)fmin(fmax(floor(low) + axis.start, 0.0), size),
      (long long)fmin(fmax(ceil(high) + axis.start, 0.0), size)};
}

// Writes taps one after another, each a step late, since the last weight is rounded differently.
template <typename W, typename Index>
struct TapWriter {
  Tap<W, Index>* taps;
  WeightRounder<W> rounder;
  Index count;
  Index cell;
  double weight;  // of that cell; 0 before the first

  __device__ TapWriter(Tap<W, Index>* taps, double share)
      : taps(taps), rounder(share), count(0), weight(0) {}

  __device__ void add(Index next_cell, double next_weight) {
    if ((W)next_weight == 0) return;
    if (weight != 0) taps[count++] = {cell, rounder.next(weight)};
    cell = next_cell;
    weight = next_weight;
  }

  __device__ Index close() {
    if (weight != 0) taps[count++] = {cell, rounder.last(weight)};
    return count;
  }
};

template <typename W, typename Index>
__device__ void list_integral(
    const Axis& axis, Index p, Index size, Index rank, Tap<W, Index>* entries,
    Section<Index>& section) {
  const Range cells = integral_cells(axis, p, size);
  if (cells.begin >= cells.end) return;
  const Stretch stretch(axis, p);
  double share = 1;
  if (stretch.low < 0 || stretch.high > size - 1) {
    share = 0;
    for (long long cell = cells.begin; cell < cells.end; ++cell) {
      share += integral_weight(stretch, cell);
    }
  }
  section.first = cells.begin;
  section.end = cells.end;
  section.begin = section.first + 3 * rank;
  TapWriter<W, Index> writer(entries + section.begin, fmin(share, 1.0));
  for (Index cell = section.first; cell < section.end; ++cell) {
    writer.add(cell, integral_weight(stretch, cell));
  }
  section.count = writer.close();
}

// A mean of interpolated points. ``place`` is where the entries go. If that depends on the cells, of
// which neighbouring sections share three at most, it is -1 - the section's rank from the low end.
template <Sampling SAMPLING, typename W, typename Index>
__device__ void list_points(
    const Axis& axis, double begin, const Range& inside, Index size, Index place,
    Tap<W, Index>* entries, Section<Index>& section) {
  CellWalk<SAMPLING, Index> walk(axis, begin, size, inside);
  Index cell;
  double sum;
  walk.advance(cell, sum);
  if (has_zeros(SAMPLING) && cell < 0) walk.advance(cell, sum);
  section.first = cell;
  section.begin = place >= 0 ? place : cell + 3 * (-1 - place);
  TapWriter<W, Index> writer(
      entries + section.begin,
      count_on_map<SAMPLING>(axis, begin, size, inside) / axis.samples);
  do {
    writer.add(cell, sum / axis.samples);
    section.end = cell + 1;
  } while (walk.advance(cell, sum) && (!has_zeros(SAMPLING) || cell < size));
  section.count = writer.close();
}

template <Mode MODE, Sampling SAMPLING, typename W, typename Index>
__device__ Point<W, Index> make_point(double position, Index size, Index sample) {
  const Spot<Index> spot = locate<SAMPLING>(position, size);
  Point<W, Index> point = {spot.low, spot.low, W(1), W(0), sample};
  if (has_zeros(SAMPLING) && (spot.low < 0 || (spot.low + 1 == size && spot.fraction > 0))) {
    const double weight = spot.low < 0 ? spot.fraction : 1 - spot.fraction;
    point.low = point.high = max(spot.low, (Index)0);
    point.low_weight = WeightRounder<W>(weight).last(weight);
  } else if (spot.fraction > 0) {
    WeightRounder<W> rounder(1);
    ++point.high;
    point.low_weight = rounder.next(1 - spot.fraction);
    point.high_weight = rounder.last(spot.fraction);
  }
  if (MODE != MAX_WEIGHTED && point.low == point.high) {
    // The only cell is halved and added to itself: exact, and without the weight 0 that would turn
    // an infinity into NaN.
    point.low_weight *= W(0.5);
    point.high_weight = point.low_weight;
  }
  return point;
}

// A maximum of interpolated points, in the order of the samples.
template <Mode MODE, Sampling SAMPLING, typename W, typename Index>
__device__ void list_extremes(
    const Axis& axis, double begin, const Range& inside, Index size, Index place,
    Point<W, Index>* entries, Section<Index>& section) {
  const long long lowest = axis.section >= 0 ? inside.begin : inside.end - 1;
  const double at_lowest = position<SAMPLING>(begin, axis.section, axis.samples, lowest);
  section.first = max(locate<SAMPLING>(at_lowest, size).low, (Index)0);
  section.begin = place >= 0 ? place : 2 * (section.first + 3 * (-1 - place));
  long long i = inside.begin;
  bool is_last = true;  // of its stretch, as the one before the first is
  long long last = 0;
  while (i < inside.end) {
    const double at = position<SAMPLING>(begin, axis.section, axis.samples, i);
    const Index number = i - inside.begin;
    const Point<W, Index> point = make_point<MODE, SAMPLING, W>(at, size, number);
    entries[section.begin + section.count++] = point;
    section.end = max(section.end, point.high + 1);
    if (is_last) last = last_of_stretch<SAMPLING>(axis, begin, size, i, at, inside.end);
    is_last = i == last;
    i = is_last ? i + 1 : last;
  }
}

template <Mode MODE, Sampling SAMPLING, typename R, typename Entry, typename Index>
__device__ Section<Index> list_section(
    const Axis& axis, Index p, Index count, Index size, Index fixed_room, Entry* entries) {
  Section<Index> section = {0, 0, 0, 0, 0};
  const Index rank = axis.section >= 0 ? p : count - 1 - p;  // from the low end
  if constexpr (SAMPLING == CELLS) {
    const Range cells = whole_cells<R>(axis, p, count, size);
    section.first = cells.begin;
    section.end = cells.end;
    section.count = cells.begin < cells.end ? cells.end - cells.begin : 0;
  } else if constexpr (SAMPLING == INTEGRAL) {
    list_integral(axis, p, size, rank, entries, section);
  } else {
    const double begin = section_begin(axis, p);
    const Range inside = inside_samples<SAMPLING>(axis, begin, size);
    if (inside.begin >= inside.end) return section;
    const Index place = fixed_room > 0 ? p * fixed_room : -1 - rank;
    if constexpr (MODE == AVG) {
      list_points<SAMPLING>(axis, begin, inside, size, place, entries, section);
    } else {
      list_extremes<MODE, SAMPLING>(axis, begin, inside, size, place, entries, section);
    }
    section.outside = (inside.begin > 0 ? OUTSIDE_BEFORE : 0) |
                      (inside.end < (long long)axis.samples ? OUTSIDE_AFTER : 0);
  }
  return section;
}

// One thread per section and axis of a box. ``fixed_row_room`` is the room for the entries of one
// section where its number of samples bounds them; 0 where the map does.
template <Mode MODE, Sampling SAMPLING, typename R, typename Entry, typename Index>
__device__ void make_tables(
    Index thread, const R* roi, ptrdiff_t row_stride, ptrdiff_t stride, double images,
    const AxisPlan& rows, const AxisPlan& cols, const Geometry& g, Index fixed_row_room,
    Index fixed_col_room, const Tables<Entry, Index>& tables) {
  const Index sections = tables.rows + tables.cols;
  const Index k = thread / sections, p = thread % sections;
  Box box;
  make_box<R, SAMPLING>(roi + k * row_stride, stride, images, rows, cols, g, box);
  if (p == 0) tables.images[k] = (Index)fmax(box.image, -1.0);
  Section<Index> section = {0, box.image == BAD_BOX ? BAD_SECTION : 0, 0, 0, 0};
  if (box.image >= 0) {
    const bool is_row = p < tables.rows;
    // Number by number: a reference to one of the two would force both into memory.
    const Axis axis = {
        is_row ? box.y.start : box.x.start, is_row ? box.y.section : box.x.section,
        is_row ? box.y.samples : box.x.samples, 0};
    section = list_section<MODE, SAMPLING, R>(
        axis, is_row ? p : p - tables.rows, is_row ? tables.rows : tables.cols,
        (Index)(is_row ? rows.size : cols.size), is_row ? fixed_row_room : fixed_col_room,
        is_row ? tables.row_entries(k) : tables.col_entries(k));
  }
  tables.sections_of(k)[p] = section;
}
