# The kernels. float32.pyx and float64.pyx say what `real` is and include this file; each is
# translated to C once, which setup.py compiles once per CPU variant. Arithmetic is on LANES
# channels at once, which lanes.h turns into SIMD on every compiler that has generic vectors. There
# are next to no intrinsics: a maximum in lanes.h, conversions in halves.h, stores in stream.h.

from cython.parallel cimport prange, threadid
from libc.math cimport INFINITY, NAN
from libc.stdint cimport INT32_MAX, int16_t, int32_t, uint16_t, uint64_t
from libc.stdlib cimport free, qsort
from libc.string cimport memcpy, memset

from roialign_cy._core.arena cimport CACHE_LINE, Arena, allocate, arena_alloc, arena_in, bytes_for
from roialign_cy._core.float_mode cimport float_mode, set_mode, set_standard_mode
from roialign_cy._core.half cimport (
    bfloat16_to_float,
    float_to_bfloat16,
    float_to_half,
    half_to_float,
)
from roialign_cy._core.ndarray cimport (
    PyArray_BYTES,
    PyArray_DESCR,
    PyArray_DIM,
    PyArray_ISNOTSWAPPED,
    PyArray_ISWRITEABLE,
    PyArray_ITEMSIZE,
    PyArray_NDIM,
    PyArray_STRIDE,
    PyArrayObject,
    ndarray,
)
from roialign_cy._core.taps cimport (
    ACCUMULATE,
    AVG,
    MAX,
    MAX_WEIGHTED,
    OUTSIDE_AFTER,
    OUTSIDE_BEFORE,
    OVERWRITE,
    PARAMETERS,
    TAPS_AT_ONCE,
    LINES_AT_ONCE,
    Axis,
    BoxTaps,
    ListCursor,
    Lists,
    Mode,
    Cell,
    PointTables,
    PointTaps,
    RotatedBox,
    Taps,
    Update,
    make_lists,
    start_lists,
)
from roialign_cy._core.runtime cimport granted

include "weighted_sum.pxi"
include "scatter.pxi"
include "call.pxi"
include "pack.pxi"
include "workspace.pxi"
include "packed_taps.pxi"
include "on_demand.pxi"
include "tiled_rows.pxi"
include "average.pxi"
include "maximum.pxi"
include "tiled.pxi"
include "planar_rows.pxi"
include "planar.pxi"
include "gradient_rows.pxi"
include "feature_gradient_mean.pxi"
include "argmax.pxi"
include "feature_gradient_maximum.pxi"
include "feature_gradient.pxi"
include "box_gradient_mean.pxi"
include "box_gradient_maximum.pxi"
include "box_gradient.pxi"
include "schedule.pxi"
include "sparse.pxi"
include "sparse_gradients.pxi"
include "sparse_run.pxi"
include "run.pxi"
