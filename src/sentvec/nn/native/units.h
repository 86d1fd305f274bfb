// What matrix products multiply: a unit is 32 bits along the sum, which are one float32, two neighbouring bfloat16 or four
// numbers of eight bits. The processor multiplies a unit and adds it up at once.

#pragma once

#include <memory>

#include "lanes.h"

namespace {

template <int K> struct Unit;

template <> struct Unit<FLOAT32> {
  static constexpr int numbers = 1;
#if defined(__AVX512F__)
  static constexpr bool fast = true;
#else
  static constexpr bool fast = false;
#endif
  static inline vf add(vf sum, vf a, vf b) { return sum + a * b; }
  static inline vf sum(vf a) { return a; }
};

template <> struct Unit<BFLOAT16> {
  static constexpr int numbers = 2;
#if defined(__AVX512BF16__)
  static constexpr bool fast = true;
  static inline vf add(vf sum, vf a, vf b) { return (vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b); }
#else
  static constexpr bool fast = false;
  static inline vf add(vf sum, vf a, vf b) {  // right, and never chosen: see `fast`
    const vu x = (vu)a, y = (vu)b;
    return sum + (vf)(x << 16) * (vf)(y << 16) + (vf)(x & 0xFFFF0000u) * (vf)(y & 0xFFFF0000u);
  }
#endif
  static inline vf sum(vf a) { return (vf)((vu)a << 16) + (vf)((vu)a & 0xFFFF0000u); }
};

template <> struct Unit<INT8> {  // four numbers from 0 to 255 times four from -128 to 127; sums are int32
  static constexpr int numbers = 4;
#if defined(__AVX512VNNI__) && !defined(__AMX_INT8__)  // AMX is for oneDNN, which has it eight times as fast
  static constexpr bool fast = true;
  static inline vf add(vf sum, vf a, vf b) { return (vf)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)a, (__m512i)b); }
#else
  static constexpr bool fast = false;
  static inline vf add(vf sum, vf a, vf b) {  // right, and never chosen: see `fast`
    const vi x = (vi)a, y = (vi)b;
    vi total = (vi)sum;
    for (int i = 0; i < 4; i++) total += ((x >> 8 * i) & 255) * ((y << (24 - 8 * i)) >> 24);
    return (vf)total;
  }
#endif
};

inline vf every(float x) { return vf{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }  // bits as they are

// sixteen units of one row of float32, and of two rows next to each other
template <int K> inline vf units_of(const float* row, int64_t real) {
  if constexpr (K == FLOAT32) return load_raw<vf>(row);
  uint16_t both[2 * LANES] = {};
#if defined(__AVX512BF16__)
  if (real == LANES) return (vf)_mm512_cvtne2ps_pbh((__m512)load_raw<vf>(row + LANES), (__m512)load_raw<vf>(row));
#endif
  for (int64_t i = 0; i < 2 * real; i += LANES) Row<BFLOAT16>::store(both + i, load_raw<vf>(row + i));
  return load_raw<vf>(both);
}

template <int K> inline vf units_of(const float* row, const float* next) {
  if constexpr (K == FLOAT32) return load_raw<vf>(row);
  uint16_t low[LANES], high[LANES];
  Row<BFLOAT16>::store(low, load_raw<vf>(row));
  Row<BFLOAT16>::store(high, load_raw<vf>(next));
  return (vf)(widened(load_raw<vh>(low)) | widened(load_raw<vh>(high)) << 16);
}

// memory that a thread keeps: fresh pages would cost more than what is done with them. It begins with a cache line.
struct alignas(64) Line {
  float numbers[LANES];
};
template <int NUMBER> inline float* scratch(int64_t size) {
  static thread_local std::unique_ptr<Line[]> memory;
  static thread_local int64_t has = 0;
  if (has < size) memory.reset(new Line[(has = size) / LANES + 1]);
  return (float*)memory.get();
}

}  // namespace
