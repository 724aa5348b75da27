// How the elements of an array (boxes or images, channels, rows, columns) are shared out among
// threads: a thread takes LANES channels of one place, because everything else about that place
// is the same for all of them.

// Strides in bytes. Those within a plane have the index width of the kernel.
template <typename Index>
struct Layout {
  ptrdiff_t outer, channel;
  Index row, col;
};

template <typename Index>
struct Place {
  Index outer, group, row, col;
};

// Channels group, group + groups, group + 2 * groups, ... belong to one thread. In NCHW
// neighbouring threads take neighbouring columns, in NHWC neighbouring channels: either way they
// read and write memory side by side.
template <bool CHANNELS_LAST, typename Index>
__device__ Place<Index> find_place(Index thread, Index groups, Index rows, Index cols) {
  Place<Index> place;
  if (CHANNELS_LAST) {
    place.group = thread % groups;
    thread /= groups;
  }
  place.col = thread % cols;
  thread /= cols;
  place.row = thread % rows;
  thread /= rows;
  if (!CHANNELS_LAST) {
    place.group = thread % groups;
    thread /= groups;
  }
  place.outer = thread;
  return place;
}

// The channels of one thread: LANES of them, or one fewer. Then the last lane does the work of the
// one before it again, which needs no condition anywhere but in the step between them.
template <int LANES, typename Index>
struct Lanes {
  Index groups;
  bool has_last;

  __device__ Lanes(Index group, Index groups, Index channels)
      : groups(groups), has_last(group + (LANES - 1) * (long long)groups < channels) {}

  // From lane to the next one in an array with that channel stride.
  __device__ ptrdiff_t step(int lane, ptrdiff_t channel_stride) const {
    return lane + 2 < LANES || has_last ? groups * channel_stride : 0;
  }
};

// The element that many bytes further on: no product with the size of an item at every step.
template <typename T>
__device__ T* advance(T* element, ptrdiff_t bytes) {
  return (T*)((char*)element + bytes);
}

template <typename T, typename Index>
__device__ T* find_element(T* array, const Layout<Index>& layout, const Place<Index>& place) {
  return advance(
      array, place.outer * layout.outer + place.group * layout.channel +
                 (place.row * layout.row + place.col * layout.col));
}

template <int LANES, typename T, typename W, typename Index>
__device__ void store_lanes(
    const W (&values)[LANES], T* element, ptrdiff_t channel_stride,
    const Lanes<LANES, Index>& lanes) {
#pragma unroll
  for (int lane = 0; lane < LANES; ++lane) {
    *element = T(values[lane]);
    element = advance(element, lanes.step(lane, channel_stride));
  }
}
