// Sixteen numbers at a time: loading, storing, rounding, exp, erf, activations, int8 of a row.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace {

constexpr int LANES = 16;
constexpr int ACROSS = 32;  // the same number as in steps.py
typedef float vf __attribute__((vector_size(64)));
typedef int32_t vi __attribute__((vector_size(64)));
typedef uint32_t vu __attribute__((vector_size(64)));
typedef uint16_t vh __attribute__((vector_size(32)));
typedef int8_t vb __attribute__((vector_size(16)));

enum Kind { FLOAT32 = 0, BFLOAT16 = 1, INT32 = 2, INT8 = 3 };
enum Act { GELU = 0, GELU_TANH = 1, RELU = 2 };

template <class V> inline V load_raw(const void* p) {
  V v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <class V> inline void store_raw(void* p, V v) { std::memcpy(p, &v, sizeof v); }

inline vf splat(float x) { return x - vf{}; }
// the second where either is NaN
#if defined(__AVX512F__)
inline vf vmax(vf a, vf b) { return (vf)_mm512_max_ps((__m512)a, (__m512)b); }
inline vf vmin(vf a, vf b) { return (vf)_mm512_min_ps((__m512)a, (__m512)b); }
#else
inline vf vmax(vf a, vf b) { return a > b ? a : b; }
inline vf vmin(vf a, vf b) { return a < b ? a : b; }
#endif
inline vf vabs(vf a) { return (vf)((vi)a & 0x7fffffff); }

inline vu widened(vh v) {
#if defined(__AVX512F__)
  return (vu)_mm512_cvtepu16_epi32((__m256i)v);
#else
  return __builtin_convertvector(v, vu);
#endif
}

template <int K> struct Row;  // reads and writes of one kind

template <> struct Row<FLOAT32> {
  typedef float type;
  static inline vf load(const float* p) { return load_raw<vf>(p); }
  static inline void store(float* p, vf v) { store_raw(p, v); }
};
template <> struct Row<BFLOAT16> {
  typedef uint16_t type;
  static inline vf load(const uint16_t* p) {
    return (vf)(widened(load_raw<vh>(p)) << 16);
  }
  static inline void store(uint16_t* p, vf v) {  // to the nearest, ties to even
#if defined(__AVX512BF16__)
    store_raw(p, (vh)_mm512_cvtneps_pbh((__m512)v));
#else
    vu bits = (vu)v;
    bits += 0x7fff + ((bits >> 16) & 1);
    store_raw(p, __builtin_convertvector(bits >> 16, vh));
#endif
  }
};
template <> struct Row<INT32> {
  typedef int32_t type;
  static inline vf load(const int32_t* p) { return __builtin_convertvector(load_raw<vi>(p), vf); }
};

inline float sum(vf v) {
  typedef float v8 __attribute__((vector_size(32)));
  typedef float v4 __attribute__((vector_size(16)));
  v8 a = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7);
  a += __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
  v4 b = __builtin_shufflevector(a, a, 0, 1, 2, 3) + __builtin_shufflevector(a, a, 4, 5, 6, 7);
  return (b[0] + b[2]) + (b[1] + b[3]);
}
// e^x by 2^n * e^r, |r| <= ln2 / 2
template <bool EXACT = true> inline vf vexp(vf x) {
  x = vmin(splat(88.0f), vmax(splat(-87.0f), x));  // in this order NaN stays NaN
  const vf magic = splat(12582912.0f);  // adding and subtracting 1.5 * 2^23 rounds
  vf n = x * 1.44269504f + magic;
  vi exponent = (vi)n;
  n -= magic;
  vf e;
  if constexpr (EXACT) {
    vf r = x - n * 0.693359375f;
    r += n * 2.12194440e-4f;
    vf p = splat(1.98756912e-4f);
    p = p * r + 1.39819994e-3f;
    p = p * r + 8.33345205e-3f;
    p = p * r + 4.16657962e-2f;
    p = p * r + 1.66666657e-1f;
    p = p * r + 5.00000000e-1f;
    e = p * (r * r) + r + 1.0f;
  } else {  // largest error 1e-4 of the result, a twentieth of bfloat16's
    const vf r = x - n * 0.69314718f;
    e = ((0.16566738f * r + 0.50496206f) * r + 1.00016419f) * r + 0.99992811f;
  }
  vf result = (vf)((vi)e + (exponent << 23));
  return x == x ? result : x;  // a NaN with bits at its end would have become a number
}

// erf(x / sqrt 2) = x * polynomial(x^2), coefficients fitted for the smallest largest error on [-c, c]
template <bool EXACT> inline vf verf(vf x) {
  if constexpr (EXACT) {  // largest error 2e-7
    constexpr float c = 5.6f;
    constexpr float k[] = {0.252519187f, -0.12610258f, 0.0939620563f, -0.0766909198f, 0.0639345952f, -0.0526246605f,
                           0.0419167142f, -0.0315056584f, 0.0218711572f, -0.0150871672f, 0.0108085997f,
                           -0.00572651389f, 0.00149824027f, -0.00125767248f, 0.00171736696f, -0.000661324217f};
    x = vmin(vmax(x, splat(-c)), splat(c));
    vf u = x * x * (2 / (c * c)) - 1.0f;
    vf p = splat(k[15]);
    for (int i = 14; i >= 0; i--) p = p * u + k[i];
    return vmin(vmax(x * p, splat(-1)), splat(1));
  } else {  // largest error 1.5e-5, a hundredth of bfloat16's
    constexpr float c = 4.2f;
    constexpr float k[] = {0.335712292f, -0.162964073f, 0.111628893f, -0.0779112629f, 0.0500099309f,
                           -0.0273507264f, 0.0162092289f, -0.0116351819f, 0.0043932869f};
    x = vmin(vmax(x, splat(-c)), splat(c));
    vf u = x * x * (2 / (c * c)) - 1.0f;
    vf p = splat(k[8]);
    for (int i = 7; i >= 0; i--) p = p * u + k[i];
    return vmin(vmax(x * p, splat(-1)), splat(1));
  }
}

template <int ACT, bool EXACT> inline vf activate(vf x) {
  if constexpr (ACT == GELU) return 0.5f * x * (1.0f + verf<EXACT>(x));
  if constexpr (ACT == GELU_TANH) {
    vf z = x * (1.5957691216f + 0.0713548162726f * x * x);  // twice the argument of tanh
    return x / (1.0f + vexp(-z));
  }
  return x < 0 ? vf{} : x;  // NaN stays NaN
}

// sums and differences of features, within fours and across as many vectors as divide the row: an unscaled Hadamard
// transform, which spreads what few large features hold, so that int8 has fewer empty steps; weights are turned too
//
// Some rounds of it, while N vectors are in registers: those that lie `done` apart, which is 1 in the FIRST rounds. After
// the LAST ones, `top` has seen all magnitudes, as bits.
template <int N, bool FIRST, bool LAST> inline void rotate_rounds(float* x, int64_t across, int64_t done, vi& top) {
  constexpr vf odd = {1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1};
  constexpr vf upper = {1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1};
  for (int64_t n = 0; n < across / N; n++) {
    float* at = x + (FIRST ? n * N : n) * LANES;  // later rounds take all vectors from one place on
    vf v[N];
#pragma GCC unroll 8
    for (int i = 0; i < N; i++) {
      v[i] = load_raw<vf>(at + i * done * LANES);
      if constexpr (FIRST) {
        v[i] = v[i] * odd + __builtin_shufflevector(v[i], v[i], 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
        v[i] = v[i] * upper + __builtin_shufflevector(v[i], v[i], 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
      }
    }
#pragma GCC unroll 8
    for (int half = 1; half < N; half *= 2)
#pragma GCC unroll 8
      for (int i = 0; i < N; i++)
        if (!(i & half)) {
          const vf a = v[i], b = v[i + half];
          v[i] = a + b;
          v[i + half] = a - b;
        }
#pragma GCC unroll 8
    for (int i = 0; i < N; i++) {
      store_raw(at + i * done * LANES, v[i]);
      if constexpr (LAST) {
        const vi bits = (vi)v[i] & 0x7fffffff;
        top = bits > top ? bits : top;
      }
    }
  }
}

template <int A> inline void rotate_blocks(float* x, int64_t n, vi& top) {
  for (int64_t i = 0; i < n; i += A * LANES) {
    if constexpr (A <= 8) {
      rotate_rounds<A, true, true>(x + i, A, 1, top);
    } else {
      rotate_rounds<8, true, false>(x + i, A, 1, top);
      rotate_rounds<A / 8, false, true>(x + i, A, 8, top);
    }
  }
}

// all of it; returns the largest magnitude, which is not finite where any number is not
inline float rotate_row(float* x, int64_t n) {
  static_assert(ACROSS == 32, "one case for each number of vectors");
  vi top = {};
  switch (n / LANES & -(n / LANES) & 31) {  // the largest power of two in it
    case 1: rotate_blocks<1>(x, n, top); break;
    case 2: rotate_blocks<2>(x, n, top); break;
    case 4: rotate_blocks<4>(x, n, top); break;
    case 8: rotate_blocks<8>(x, n, top); break;
    case 16: rotate_blocks<16>(x, n, top); break;
    default: rotate_blocks<32>(x, n, top);
  }
  int32_t bits = 0;
  for (int i = 0; i < LANES; i++) bits = top[i] > bits ? top[i] : bits;
  float largest;
  std::memcpy(&largest, &bits, sizeof largest);
  return largest;
}

// the low byte of each number
inline void store_bytes(void* to, vi v) {
#if defined(__AVX512F__)
  _mm_storeu_si128((__m128i*)to, _mm512_cvtepi32_epi8((__m512i)v));
#else
  store_raw(to, __builtin_convertvector(v, vb));
#endif
}

// int8 of one row plus ZERO, which is 0 or 128; the row is turned on the way. Returns the scale that gives it back; a row
// that is not finite gets a scale of NaN
template <int ZERO> inline float quantise_row(float* x, int64_t n, void* q) {
  const float amax = rotate_row(x, n);
  const float inverse = amax > 0 ? 127.0f / amax : 0.0f;
  const vf magic = splat(12582912.0f + ZERO);  // adding 1.5 * 2^23 rounds, and the low byte is the rounded number
  for (int64_t i = 0; i < n; i += LANES)
    store_bytes((int8_t*)q + i, (vi)(load_raw<vf>(x + i) * inverse + magic));
  return amax / 127.0f + amax * 0.0f;
}

}  // namespace
