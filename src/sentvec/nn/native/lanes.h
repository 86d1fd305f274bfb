// Sixteen numbers at a time: loading, storing, rounding, exp, erf, activations, int8 of a row.

#pragma once

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
inline vf vmax(vf a, vf b) { return a > b ? a : b; }
inline vf vmin(vf a, vf b) { return a < b ? a : b; }
inline vf vabs(vf a) { return (vf)((vi)a & 0x7fffffff); }

template <int K> struct Row;  // reads and writes of one kind

template <> struct Row<FLOAT32> {
  typedef float type;
  static inline vf load(const float* p) { return load_raw<vf>(p); }
  static inline void store(float* p, vf v) { store_raw(p, v); }
};
template <> struct Row<BFLOAT16> {
  typedef uint16_t type;
  static inline vf load(const uint16_t* p) {
    return (vf)(__builtin_convertvector(load_raw<vh>(p), vu) << 16);
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
inline float largest(vf v) {
  float s = v[0];
  for (int i = 1; i < LANES; i++) s = v[i] > s ? v[i] : s;
  return s;
}

// e^x by 2^n * e^r, |r| <= ln2 / 2
inline vf vexp(vf x) {
  x = vmin(splat(88.0f), vmax(splat(-87.0f), x));  // in this order NaN stays NaN
  const vf magic = splat(12582912.0f);  // adding and subtracting 1.5 * 2^23 rounds
  vf n = x * 1.44269504f + magic;
  vi exponent = (vi)n;
  n -= magic;
  vf r = x - n * 0.693359375f;
  r += n * 2.12194440e-4f;
  vf p = splat(1.98756912e-4f);
  p = p * r + 1.39819994e-3f;
  p = p * r + 8.33345205e-3f;
  p = p * r + 4.16657962e-2f;
  p = p * r + 1.66666657e-1f;
  p = p * r + 5.00000000e-1f;
  vf e = p * (r * r) + r + 1.0f;
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
inline void rotate_row(float* x, int64_t n) {
  constexpr vf odd = {1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1};
  constexpr vf upper = {1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1};
  for (int64_t i = 0; i < n; i += LANES) {
    vf v = load_raw<vf>(x + i);
    v = v * odd + __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
    v = v * upper + __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
    store_raw(x + i, v);
  }
  const int64_t vectors = n / LANES;
  int64_t across = 1;
  while (across < ACROSS && vectors % (2 * across) == 0) across *= 2;
  for (int64_t half = 1; half < across; half *= 2)
    for (int64_t i = 0; i < vectors; i += 2 * half)
      for (int64_t j = i; j < i + half; j++) {
        float *a = x + j * LANES, *b = a + half * LANES;
        const vf u = load_raw<vf>(a), v = load_raw<vf>(b);
        store_raw(a, u + v);
        store_raw(b, u - v);
      }
}

// int8 of one row, which is turned on the way, with the scale that gives it back; a row that is not finite gets a
// scale of NaN
inline float quantise_row(float* x, int64_t n, int8_t* q) {
  rotate_row(x, n);
  vf top = {}, poison = {};
  for (int64_t i = 0; i < n; i += LANES) {
    vf v = load_raw<vf>(x + i);
    top = vmax(top, vabs(v));
    poison += v * 0.0f;
  }
  float amax = largest(top), bad = sum(poison);
  float inverse = amax > 0 ? 127.0f / amax : 0.0f;
  const vf magic = splat(12582912.0f);
  for (int64_t i = 0; i < n; i += LANES) {
    vf v = load_raw<vf>(x + i) * inverse + magic;
    store_raw(q + i, __builtin_convertvector((vi)v, vb));  // the low byte is the rounded number
  }
  return amax / 127.0f + bad;
}

}  // namespace
