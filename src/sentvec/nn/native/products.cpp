// The matrix products of a training step with what belongs to each number of their results: bias, activation, and the
// activation's slope, which the way back multiplies with. Called by products.py.

#include "products.h"

namespace {

template <int K> struct Plain {  // + bias
  typename Row<K>::type* out;
  const float* bias;
  int64_t width;
  inline void put(int64_t row, int64_t column, vf v) {
    Row<K>::store(out + row * width + column, bias ? v + load_raw<vf>(bias + column) : v);
  }
};

struct Added {
  float* out;
  int64_t width;
  inline void put(int64_t row, int64_t column, vf v) {
    float* at = out + row * width + column;
    store_raw(at, load_raw<vf>(at) + v);
  }
};

// an activation and its slope
template <int ACT, bool EXACT> inline void activate(vf x, vf& value, vf& slope) {
  if constexpr (ACT == GELU) {
    const vf share = 0.5f * (1.0f + verf<EXACT>(x));
    value = x * share;
    if constexpr (EXACT) {
      slope = share + x * (vexp(-0.5f * x * x) * 0.3989422804f);
    } else {  // 0.5 + x * polynomial(x^2), fitted as in verf; largest error 7e-5
      constexpr float c = 4.5f;
      constexpr float k[] = {0.159445756f, -0.0899229953f, 0.0861859368f, -0.0953677434f, 0.105038916f,
                             -0.0877578193f, 0.0477327658f, -0.0454840133f, 0.0559670109f, -0.0247231741f};
      x = vmin(vmax(x, splat(-c)), splat(c));
      const vf u = x * x * (2 / (c * c)) - 1.0f;
      vf p = splat(k[9]);
      for (int i = 8; i >= 0; i--) p = p * u + k[i];
      slope = 0.5f + x * p;
    }
  } else if constexpr (ACT == GELU_TANH) {
    const vf share = 1.0f / (1.0f + vexp(-x * (1.5957691216f + 0.0713548162726f * x * x)));
    value = x * share;
    x = vmin(vmax(x, splat(-20)), splat(20));  // zero times infinity comes beyond
    slope = share + x * share * (1.0f - share) * (1.5957691216f + 0.2140644488178f * x * x);
  } else {
    value = x < 0 ? vf{} : x;
    slope = x > 0 ? splat(1) : vf{};
  }
}

template <int K, int ACT> struct Activated {
  typename Row<K>::type *slopes, *out;
  const float* bias;
  int64_t width;
  inline void put(int64_t row, int64_t column, vf v) {
    vf value, slope;
    activate<ACT, K == FLOAT32>(v + load_raw<vf>(bias + column), value, slope);
    Row<K>::store(slopes + row * width + column, slope);
    Row<K>::store(out + row * width + column, value);
  }
};

template <int K> struct Sloped {
  const typename Row<K>::type* slopes;
  typename Row<K>::type* out;
  int64_t width;
  inline void put(int64_t row, int64_t column, vf v) {
    const int64_t at = row * width + column;
    Row<K>::store(out + at, v * Row<K>::load(slopes + at));
  }
};

template <int K> void linear(const void* x, int64_t rows, const float* matrix, int64_t out, int64_t in,
                             const float* bias, int act, void* slopes, void* to) {
  typedef typename Row<K>::type T;
  T *s = (T*)slopes, *o = (T*)to;
  if (act < 0) return multiply<K, false>(x, rows, matrix, out, in, Plain<K>{o, bias, out});
  if (act == GELU) return multiply<K, false>(x, rows, matrix, out, in, Activated<K, GELU>{s, o, bias, out});
  if (act == GELU_TANH) return multiply<K, false>(x, rows, matrix, out, in, Activated<K, GELU_TANH>{s, o, bias, out});
  multiply<K, false>(x, rows, matrix, out, in, Activated<K, RELU>{s, o, bias, out});
}

template <int K> void back(const void* d, int64_t rows, const float* matrix, int64_t out, int64_t in,
                           const void* slopes, void* to, int add) {
  typedef typename Row<K>::type T;
  if (add) return multiply<K, true>(d, rows, matrix, out, in, Added{(float*)to, in});
  if (slopes) return multiply<K, true>(d, rows, matrix, out, in, Sloped<K>{(const T*)slopes, (T*)to, in});
  multiply<K, true>(d, rows, matrix, out, in, Plain<K>{(T*)to, nullptr, in});
}

}  // namespace

extern "C" {

int sentvec_fast(int kind) { return kind == FLOAT32 ? Unit<FLOAT32>::fast : Unit<BFLOAT16>::fast; }

void sentvec_linear(int kind, const void* x, int64_t rows, const float* matrix, int64_t out, int64_t in,
                    const float* bias, int act, void* slopes, void* to) {
  if (kind == FLOAT32) return linear<FLOAT32>(x, rows, matrix, out, in, bias, act, slopes, to);
  linear<BFLOAT16>(x, rows, matrix, out, in, bias, act, slopes, to);
}

void sentvec_back(int kind, const void* d, int64_t rows, const float* matrix, int64_t out, int64_t in,
                  const void* slopes, void* to, int add) {
  if (kind == FLOAT32) return back<FLOAT32>(d, rows, matrix, out, in, slopes, to, add);
  back<BFLOAT16>(d, rows, matrix, out, in, slopes, to, add);
}

void sentvec_outer(int kind, const void* left, const void* right, int64_t rows, int64_t left_width,
                   int64_t right_width, float* out, float* sums, int add, int add_sums) {
  if (kind == FLOAT32) return outer<FLOAT32>(left, right, rows, left_width, right_width, out, sums, add, add_sums);
  outer<BFLOAT16>(left, right, rows, left_width, right_width, out, sums, add, add_sums);
}
}
