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

template <int K> void linear(const void* x, int64_t rows, int64_t depth, const float* weights, int64_t columns,
                             const float* bias, int act, void* inner, void* out) {
  typedef typename Row<K>::type T;
  if (act < 0)
    multiply<K>(x, rows, depth, weights, columns, Plain<K>{(T*)out, bias, columns});
  else if (act == GELU)
    multiply<K>(x, rows, depth, weights, columns, Activated<K, GELU>{(T*)inner, (T*)out, bias, columns});
  else if (act == GELU_TANH)
    multiply<K>(x, rows, depth, weights, columns, Activated<K, GELU_TANH>{(T*)inner, (T*)out, bias, columns});
  else
    multiply<K>(x, rows, depth, weights, columns, Activated<K, RELU>{(T*)inner, (T*)out, bias, columns});
}

template <int K> void back_act(const void* d, int64_t rows, int64_t depth, const float* weights, int64_t columns,
                               int act, const void* inner, void* gradient, void* out) {
  typedef typename Row<K>::type T;
  const T* u = (const T*)inner;
  T *g = (T*)gradient, *o = (T*)out;
  if (act == GELU)
    multiply<K>(d, rows, depth, weights, columns, Sloped<K, GELU>{u, g, o, columns});
  else if (act == GELU_TANH)
    multiply<K>(d, rows, depth, weights, columns, Sloped<K, GELU_TANH>{u, g, o, columns});
  else
    multiply<K>(d, rows, depth, weights, columns, Sloped<K, RELU>{u, g, o, columns});
}

}  // namespace

extern "C" {

int sentvec_fast(int kind) { return kind == FLOAT32 ? Unit<FLOAT32>::fast : Unit<BFLOAT16>::fast; }

void sentvec_pack(int kind, const float* weights, int64_t out, int64_t in, float* forward, float* back) {
  if (kind == FLOAT32) return pack<FLOAT32>(weights, out, in, forward, back);
  pack<BFLOAT16>(weights, out, in, forward, back);
}

void sentvec_linear(int kind, const void* x, int64_t rows, int64_t depth, const float* weights, int64_t columns,
                    const float* bias, int act, void* inner, void* out) {
  if (kind == FLOAT32) return linear<FLOAT32>(x, rows, depth, weights, columns, bias, act, inner, out);
  linear<BFLOAT16>(x, rows, depth, weights, columns, bias, act, inner, out);
}

void sentvec_back(int kind, const void* d, int64_t rows, int64_t depth, const float* weights, int64_t columns,
                  void* out, int add) {
  if (add && kind == FLOAT32) return multiply<FLOAT32>(d, rows, depth, weights, columns, Added{(float*)out, columns});
  if (add) return multiply<BFLOAT16>(d, rows, depth, weights, columns, Added{(float*)out, columns});
  if (kind == FLOAT32)
    return multiply<FLOAT32>(d, rows, depth, weights, columns, Plain<FLOAT32>{(float*)out, nullptr, columns});
  multiply<BFLOAT16>(d, rows, depth, weights, columns, Plain<BFLOAT16>{(uint16_t*)out, nullptr, columns});
}

void sentvec_back_act(int kind, const void* d, int64_t rows, int64_t depth, const float* weights, int64_t columns,
                      int act, const void* inner, void* gradient, void* out) {
  if (kind == FLOAT32) return back_act<FLOAT32>(d, rows, depth, weights, columns, act, inner, gradient, out);
  back_act<BFLOAT16>(d, rows, depth, weights, columns, act, inner, gradient, out);
}

void sentvec_outer(int kind, const void* left, const void* right, int64_t rows, int64_t left_width,
                   int64_t right_width, float* out, float* sums, int add) {
  if (kind == FLOAT32) return outer<FLOAT32>(left, right, rows, left_width, right_width, out, sums, add);
  outer<BFLOAT16>(left, right, rows, left_width, right_width, out, sums, add);
}
}
