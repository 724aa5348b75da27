// Which boxes and sections read a cell of the map: what the gradient with respect to the map needs.

// Sections begin .. end - 1 of a box, along one axis.
template <typename Index>
struct alignas(2 * sizeof(Index)) Readers {  // one load
  Index begin, end;
};

// The cells that a box reads: rows top .. bottom - 1, columns left .. right - 1.
template <typename Index>
struct Extent {
  Index image, top, bottom, left, right;
};

// Maps are cut into tiles, each with a bit for every box, in their order: whether it may read there.
[[maybe_unused]] constexpr int TILE_ROWS = 8, TILE_COLS = 32, WORD = 32;

// What the kernels below find out.
template <typename Index>
struct Reading {
  Index num_boxes, height, width;
  Index words, tile_rows, tile_cols;  // of a tile, of a map
  Readers<Index>* readers;            // [box][row, then column of the map]
  Extent<Index>* extents;             // [box]
  Index* order;                       // boxes in the CPU's order
  Index* begins;                      // [image]: where it begins in that order; one more
  unsigned* masks;                    // [image][tile][word]

  __device__ Reading(
      const void* memory, Index num_boxes, Index num_images, Index height, Index width)
      : num_boxes(num_boxes), height(height), width(width), words((num_boxes + WORD - 1) / WORD),
        tile_rows((height + TILE_ROWS - 1) / TILE_ROWS),
        tile_cols((width + TILE_COLS - 1) / TILE_COLS), readers((Readers<Index>*)memory),
        extents((Extent<Index>*)(readers + (ptrdiff_t)num_boxes * (height + width))),
        order((Index*)(extents + num_boxes)), begins(order + num_boxes),
        masks((unsigned*)(begins + num_images + 1)) {}
};

template <typename Index>
__device__ void find_ends(const Section<Index>* sections, Index count, Index& begin, Index& end) {
  begin = end = 0;
  bool is_any = false;
#pragma unroll 1
  for (Index p = 0; p < count; ++p) {
    const Section<Index> section = sections[p];
    if (section.count <= 0) continue;
    begin = is_any ? min(begin, section.first) : section.first;
    end = is_any ? max(end, section.end) : section.end;
    is_any = true;
  }
}

// The first threads find the extent of one box each; the others, for one box, axis and cell, the
// sections that may read it, which follow one another.
template <typename Entry, typename Index>
__device__ void find_readers(
    Index thread, const Tables<Entry, Index>& tables, const Reading<Index>& reading) {
  if (thread < reading.num_boxes) {
    Extent<Index> extent;
    extent.image = tables.images[thread];
    const Section<Index>* sections = tables.sections_of(thread);
    find_ends(sections, tables.rows, extent.top, extent.bottom);
    find_ends(sections + tables.rows, tables.cols, extent.left, extent.right);
    reading.extents[thread] = extent;
    return;
  }
  thread -= reading.num_boxes;
  const Index cells = reading.height + reading.width;
  const Section<Index>* sections = tables.sections_of(thread / cells);
  Index cell = thread % cells, count = tables.rows;
  if (cell >= reading.height) {
    cell -= reading.height;
    sections += tables.rows;
    count = tables.cols;
  }
  Readers<Index> found = {0, 0};
#pragma unroll 1
  for (Index p = 0; p < count; ++p) {
    const Section<Index> section = sections[p];
    if (section.count > 0 && section.first <= cell && cell < section.end) {
      if (found.end == 0) found.begin = p;
      found.end = p + 1;
    }
  }
  reading.readers[thread] = found;
}

// By image, by the first row that they read, by number. The first threads find the place of one box
// each, the others where an image begins.
template <typename Index>
__device__ void order_boxes(Index thread, const Reading<Index>& reading) {
  Index before = 0;
  if (thread >= reading.num_boxes) {
    const Index image = thread - reading.num_boxes;
#pragma unroll 1
    for (Index k = 0; k < reading.num_boxes; ++k) before += reading.extents[k].image < image;
    reading.begins[image] = before;
    return;
  }
  const Extent<Index> own = reading.extents[thread];
#pragma unroll 1
  for (Index k = 0; k < reading.num_boxes; ++k) {
    const Index image = reading.extents[k].image, top = reading.extents[k].top;
    before += image < own.image ||
              (image == own.image && (top < own.top || (top == own.top && k < thread)));
  }
  reading.order[before] = thread;
}

// One thread per image, tile and word of bits.
template <typename Index>
__device__ void mark_boxes(Index thread, const Reading<Index>& reading) {
  const Index first = thread % reading.words * WORD, tile = thread / reading.words;
  const Index left = tile % reading.tile_cols * TILE_COLS, tile_row = tile / reading.tile_cols;
  const Index top = tile_row % reading.tile_rows * TILE_ROWS;
  const Index image = tile_row / reading.tile_rows;
  unsigned mask = 0;
#pragma unroll 1
  for (int bit = 0; bit < WORD && first + bit < reading.num_boxes; ++bit) {
    const Extent<Index> box = reading.extents[reading.order[first + bit]];
    if (box.image == image && box.top < top + TILE_ROWS && box.bottom > top &&
        box.left < left + TILE_COLS && box.right > left) {
      mask |= 1u << bit;
    }
  }
  reading.masks[thread] = mask;
}
