// The matrix products of a training step with what belongs to each number of their results: bias, activation, and the
// activation's derivative. Called by products.py.

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

template <int K, int ACT> struct Activated {  // keeps what was activated: its derivative is asked for later
  typename Row<K>::type *inner, *out;
  const float* bias;
  int64_t width;
  inline void put(int64_t row, int64_t column, vf v) {
    const int64_t at = row * width + column;
    Row<K>::store(inner + at, bias ? v + load_raw<vf>(bias + column) : v);
    Row<K>::store(out + at, activate<ACT, K == FLOAT32>(Row<K>::load(inner + at)));
  }
};

// an activation and its derivative
template <int ACT, bool EXACT> inline void slope(vf x, vf& value, vf& by) {
  if constexpr (ACT == GELU) {
    const vf share = 0.5f * (1.0f + verf<EXACT>(x));
    value = x * share;
    by = share + x * (vexp(-0.5f * x * x) * 0.3989422804f);
  } else if constexpr (ACT == GELU_TANH) {
    const vf square = x * x, share = 1.0f / (1.0f + vexp(-x * (1.5957691216f + 0.0713548162726f * square)));
    value = x * share;
    by = share + x * (share * (1.0f - share)) * (1.5957691216f + 0.2140644488178f * square);
  } else {
    value = x < 0 ? vf{} : x;
    by = x > 0 ? splat(1) : vf{};
  }
}

template <int K, int ACT> struct Sloped {  // gradient of what was activated; and what came out, once more
  const typename Row<K>::type* inner;
  typename Row<K>::type *gradient, *out;
  int64_t width;
  inline void put(int64_t row, int64_t column, vf v) {
    const int64_t at = row * width + column;
    vf value, by;
    slope<ACT, K == FLOAT32>(Row<K>::load(inner + at), value, by);
    Row<K>::store(gradient + at, v * by);
    Row<K>::store(out + at, value);
  }
};

template <int K> void linear(const void* x, int64_t rows, const float* matrix, int64_t out, int64_t in,
                             const float* bias, int act, void* inner, void* to) {
  typedef typename Row<K>::type T;
  T *u = (T*)inner, *o = (T*)to;
  if (act < 0) return multiply<K, false>(x, rows, matrix, out, in, Plain<K>{o, bias, out});
  if (act == GELU) return multiply<K, false>(x, rows, matrix, out, in, Activated<K, GELU>{u, o, bias, out});
  if (act == GELU_TANH) return multiply<K, false>(x, rows, matrix, out, in, Activated<K, GELU_TANH>{u, o, bias, out});
  multiply<K, false>(x, rows, matrix, out, in, Activated<K, RELU>{u, o, bias, out});
}

template <int K> void back(const void* d, int64_t rows, const float* matrix, int64_t out, int64_t in, void* to, int add) {
  if (add) return multiply<K, true>(d, rows, matrix, out, in, Added{(float*)to, in});
  multiply<K, true>(d, rows, matrix, out, in, Plain<K>{(typename Row<K>::type*)to, nullptr, in});
}

template <int K> void back_act(const void* d, int64_t rows, const float* matrix, int64_t out, int64_t in, int act,
                               const void* inner, void* gradient, void* to) {
  typedef typename Row<K>::type T;
  const T* u = (const T*)inner;
  T *g = (T*)gradient, *o = (T*)to;
  if (act == GELU) return multiply<K, true>(d, rows, matrix, out, in, Sloped<K, GELU>{u, g, o, in});
  if (act == GELU_TANH) return multiply<K, true>(d, rows, matrix, out, in, Sloped<K, GELU_TANH>{u, g, o, in});
  multiply<K, true>(d, rows, matrix, out, in, Sloped<K, RELU>{u, g, o, in});
}

}  // namespace

extern "C" {

int sentvec_fast(int kind) { return kind == FLOAT32 ? Unit<FLOAT32>::fast : Unit<BFLOAT16>::fast; }

void sentvec_linear(int kind, const void* x, int64_t rows, const float* matrix, int64_t out, int64_t in,
                    const float* bias, int act, void* inner, void* to) {
  if (kind == FLOAT32) return linear<FLOAT32>(x, rows, matrix, out, in, bias, act, inner, to);
  linear<BFLOAT16>(x, rows, matrix, out, in, bias, act, inner, to);
}

void sentvec_back(int kind, const void* d, int64_t rows, const float* matrix, int64_t out, int64_t in, void* to,
                  int add) {
  if (kind == FLOAT32) return back<FLOAT32>(d, rows, matrix, out, in, to, add);
  back<BFLOAT16>(d, rows, matrix, out, in, to, add);
}

void sentvec_back_act(int kind, const void* d, int64_t rows, const float* matrix, int64_t out, int64_t in, int act,
                      const void* inner, void* gradient, void* to) {
  if (kind == FLOAT32) return back_act<FLOAT32>(d, rows, matrix, out, in, act, inner, gradient, to);
  back_act<BFLOAT16>(d, rows, matrix, out, in, act, inner, gradient, to);
}

void sentvec_outer(int kind, const void* left, const void* right, int64_t rows, int64_t left_width,
                   int64_t right_width, float* out, float* sums, int add, int add_sums) {
  if (kind == FLOAT32) return outer<FLOAT32>(left, right, rows, left_width, right_width, out, sums, add, add_sums);
  outer<BFLOAT16>(left, right, rows, left_width, right_width, out, sums, add, add_sums);
}
}
