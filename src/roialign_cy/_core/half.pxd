"""float16 and bfloat16 to float32 and back.

In integer arithmetic, since not every compiler has these types.
"""

from libc.stdint cimport uint16_t, uint32_t

cdef union FloatBits:
    float value
    uint32_t bits


cdef inline float half_to_float(uint16_t half) noexcept nogil:
    cdef FloatBits result
    cdef uint32_t magnitude = half & 0x7FFF
    if magnitude < 0x400:  # subnormal: a whole number of 2**-24
        result.value = <float>magnitude * <float>5.9604644775390625e-08
    elif magnitude < 0x7C00:  # normal: move the exponent's bias from 15 to 127
        result.bits = (magnitude << 13) + (<uint32_t>112 << 23)
    else:  # infinity or NaN
        result.bits = (magnitude << 13) | 0x7F800000
    result.bits |= <uint32_t>(half & 0x8000) << 16
    return result.value


cdef inline uint16_t float_to_half(float value) noexcept nogil:
    """Round to nearest even; beyond the largest half is infinity."""
    cdef FloatBits source, shifted
    source.value = value
    cdef uint32_t sign = (source.bits >> 16) & 0x8000
    cdef uint32_t magnitude = source.bits & 0x7FFFFFFF
    if magnitude > 0x7F800000:  # NaN
        return 0x7E00  # every NaN becomes this one
    if magnitude >= 0x477FF000:  # 65520 and up
        return <uint16_t>(sign | 0x7C00)
    if magnitude < 0x38800000:  # below 2**-14: adding 0.5 rounds to multiples of 2**-24
        source.bits = magnitude
        shifted.value = source.value + <float>0.5
        return <uint16_t>(sign | (shifted.bits - 0x3F000000))
    magnitude += 0xFFF + ((magnitude >> 13) & 1)
    return <uint16_t>(sign | ((magnitude - (<uint32_t>112 << 23)) >> 13))


cdef inline float bfloat16_to_float(uint16_t bits) noexcept nogil:
    cdef FloatBits result
    result.bits = <uint32_t>bits << 16
    return result.value


cdef inline uint16_t float_to_bfloat16(float value) noexcept nogil:
    """Round to nearest even."""
    cdef FloatBits source
    if value != value:
        return 0x7FC0  # every NaN becomes this one
    source.value = value
    return <uint16_t>((source.bits + 0x7FFF + ((source.bits >> 16) & 1)) >> 16)


cdef inline float round_double_to_half(double value) noexcept nogil:
    """Round by way of float32: to odd there, so that the second rounding does no harm."""
    cdef FloatBits near
    near.value = <float>value
    if near.value != value and not near.bits & 1:
        near.bits += 1 if (near.value < value) == (value > 0) else -1
    return half_to_float(float_to_half(near.value))


cdef inline float round_to_half(float value) noexcept nogil:
    return half_to_float(float_to_half(value))
