// Attention and the element-wise steps of a layer over packed tokens, as loops that the threads of a region share.
//
// Plain C++ with the vector extension that gcc and clang share, so that one source serves every processor;
// -march=native decides which instructions come out.
//
// Numbers arrive as float32, bfloat16, or int32 sums of int8 products, which stand for
// sum * row_scale * column_scale + bias. They leave as float32, bfloat16, or int8 with one scale a row.

#pragma once

#include <algorithm>
#include <vector>

#include "blocks.h"

namespace {

struct Product {  // a matrix product as it came, and what makes it the real one
  int kind;
  const void* data;
  const float* row_scale;
  const float* column_scale;
  const float* bias;
};

template <int K> struct Reader {
  const typename Row<K>::type* data;
  const float *column_scale, *bias;
  float row;
  Reader(const Product& p, int64_t width, int64_t row_number, int64_t first = 0)
      : data((const typename Row<K>::type*)p.data + row_number * width + first),
        column_scale(p.column_scale ? p.column_scale + first : nullptr),
        bias(p.bias ? p.bias + first : nullptr),
        row(K == INT32 ? p.row_scale[row_number] : 1.0f) {}
  template <bool BIAS> inline vf at(int64_t i) const {
    vf v = Row<K>::load(data + i);
    if constexpr (K == INT32) v *= load_raw<vf>(column_scale + i) * row;
    if constexpr (BIAS) v += load_raw<vf>(bias + i);
    return v;
  }
};

// one row: the sum with what the layer began with, normalised; x is memory for it, which keeps it in float32
template <int IN, int OUT>
inline void norm_row(const Reader<IN>& read, const typename Row<OUT>::type* r, const float* gamma, const float* beta,
                     float eps, int64_t width, typename Row<OUT>::type* o, float* x) {
  vf s = {}, s2 = {};
  for (int64_t i = 0; i < width; i += LANES) {
    vf v = (read.bias ? read.template at<true>(i) : read.template at<false>(i)) + Row<OUT>::load(r + i);
    store_raw(x + i, v);
    s += v;
  }
  float mean = sum(s) / width;
  for (int64_t i = 0; i < width; i += LANES) {
    vf d = load_raw<vf>(x + i) - mean;
    s2 += d * d;
  }
  float scale = 1.0f / std::sqrt(sum(s2) / width + eps);
  for (int64_t i = 0; i < width; i += LANES) {
    vf v = (load_raw<vf>(x + i) - mean) * (load_raw<vf>(gamma + i) * scale) + load_raw<vf>(beta + i);
    Row<OUT>::store(o + i, v);
    store_raw(x + i, v);
  }
}

template <int IN, int OUT>
void norm(const Product& in, const void* residual, const float* gamma, const float* beta, float eps, int64_t rows,
          int64_t width, void* out, int8_t* q, float* q_scale) {
  typedef typename Row<OUT>::type T;
  std::vector<float> scratch(width + LANES);
#pragma omp for schedule(static)
  for (int64_t t = 0; t < rows; t++) {
    norm_row<IN, OUT>(Reader<IN>(in, width, t), (const T*)residual + t * width, gamma, beta, eps, width,
                      (T*)out + t * width, scratch.data());
    if (q) q_scale[t] = quantise_row<0>(scratch.data(), width, q + t * width);
  }
}

// not inlined, so that no compiler adds and multiplies in another order where it stands beside other code
template <int ACT, int K>
__attribute__((noinline)) void activate_all(const typename Row<K>::type* in, int64_t count, typename Row<K>::type* out) {
  for (int64_t i = 0; i < count; i += LANES) Row<K>::store(out + i, activate<ACT, K == FLOAT32>(Row<K>::load(in + i)));
}

template <int ACT, int IN, int OUT>
void act(const Product& in, int64_t rows, int64_t width, void* out, float* scale) {
  std::vector<float> scratch(OUT == INT8 ? width + LANES : 0);
  float* x = scratch.data();
#pragma omp for schedule(static)
  for (int64_t t = 0; t < rows; t++) {
    if constexpr (OUT == INT8) {
      Reader<IN> read(in, width, t);
      for (int64_t i = 0; i < width; i += LANES)
        store_raw(x + i, activate<ACT, false>(in.bias ? read.template at<true>(i) : read.template at<false>(i)));
      scale[t] = quantise_row<0>(x, width, (int8_t*)out + t * width);
    } else {
      typedef typename Row<OUT>::type T;
      activate_all<ACT, OUT>((const T*)in.data + t * width, width, (T*)out + t * width);
    }
  }
}

// 16 * J queries of one head of one text against all its keys, as units of a kind M
template <int J, int M, int OUT>
inline void queries(const float* q, const float* k, const float* v, int64_t dim, int64_t length, int64_t real,
                    const float* near, float* scratch, typename Row<OUT>::type* out, int64_t hidden) {
  constexpr int per = Unit<M>::numbers;
  float* qt = scratch;                  // (dim, 16 * J)
  float* p = qt + dim / per * J * LANES;  // (length, 16 * J)
  columns<J>(q, dim / per, real, qt);
  vf top[J], inverse[J];
  scores<J, M>(k, qt, dim / per, length, near, p, top);
  exponents<J, M == FLOAT32>(p, top, length, inverse);
  if constexpr (M == BFLOAT16) paired<J>(p, length);
  for (int64_t r = 0; r < real; r += QUERIES) {
    const int64_t rows = std::min<int64_t>(real - r, QUERIES);
    int64_t d = 0;
    auto block = [&](auto width) {
      constexpr int W = decltype(width)::value;
      vf acc[QUERIES][W];
      mix_block<QUERIES, W, M>(p + r, J * LANES, 1, v + d, dim, (length + per - 1) / per, acc);
      for (int64_t i = 0; i < rows; i++)
        for (int j = 0; j < W; j++)
          Row<OUT>::store(out + (r + i) * hidden + d + j * LANES,
                          acc[i][j] * inverse[(r + i) / LANES][(r + i) % LANES]);
      d += W * LANES;
    };
    while (d + 2 * LANES <= dim) block(std::integral_constant<int, 2>());
    while (d < dim) block(std::integral_constant<int, 1>());
  }
}

// queries, keys and values of one head of one text, as units of a kind M: of neighbouring features, and of values from
// neighbouring tokens
template <int IN, int M>
inline void gather(const Product& in, int64_t width, int64_t column, int64_t dim, int64_t first, int64_t length,
                   float scale, float* q, float* k, float* v) {
  constexpr int per = Unit<M>::numbers;
  const int64_t hidden = width / 3;
  alignas(64) float both[2][2 * LANES];
  auto some = [&](int64_t n, int64_t d, int part, float by, float* to) {  // sixteen numbers, zero beyond the text
    if (n >= length) return store_raw(to, vf{});
    Reader<IN> read(in, width, first + n, part * hidden + column);
    store_raw(to, (in.bias ? read.template at<true>(d) : read.template at<false>(d)) * by);
  };
  for (int64_t n = 0; n < length; n++)
    for (int64_t d = 0; d < dim; d += per * LANES)
      for (int part = 0; part < 2; part++) {
        for (int i = 0; i < per; i++) some(n, d + i * LANES, part, part ? 1.0f : scale, both[0] + i * LANES);
        store_raw((part ? k : q) + (n * dim + d) / per, units_of<M>(both[0], LANES));
      }
  for (int64_t n = 0; n < length; n += per)
    for (int64_t d = 0; d < dim; d += LANES) {
      for (int i = 0; i < per; i++) some(n + i, d, 2, 1.0f, both[i]);
      store_raw(v + n / per * dim + d, units_of<M>(both[0], both[1]));
    }
}

// one head of one text; near[i - j] is added to the score of query i and key j, where there is such a thing
template <int IN, int M, int OUT>
void head(const Product& in, int64_t heads, int64_t dim, int64_t head, int64_t first, int64_t length, float scale,
          const float* near, float* scratch, typename Row<OUT>::type* out) {
  constexpr int per = Unit<M>::numbers;
  const int64_t hidden = heads * dim;
  float* q = scratch;
  float* k = q + length * dim / per;
  float* v = k + length * dim / per;
  float* rest = v + (length + per - 1) / per * dim;
  gather<IN, M>(in, 3 * hidden, head * dim, dim, first, length, scale, q, k, v);
  out += first * hidden + head * dim;
  for (int64_t r = 0; r < length;) {
    const int64_t left = length - r;
    const float* at = near ? near + r : nullptr;
    if (left > LANES) {
      const int64_t real = std::min<int64_t>(left, 2 * LANES);
      queries<2, M, OUT>(q + r * dim / per, k, v, dim, length, real, at, rest, out + r * hidden, hidden);
      r += 2 * LANES;
    } else {
      queries<1, M, OUT>(q + r * dim / per, k, v, dim, length, left, at, rest, out + r * hidden, hidden);
      r += LANES;
    }
  }
}

// floats that `head` needs
inline int64_t room(int64_t longest, int64_t dim) { return (3 * longest + 1) * dim + 2 * LANES * (dim + longest); }

template <int IN, int OUT>
void attend(const Product& in, int64_t heads, int64_t dim, const int64_t* offsets, int64_t texts, float scale,
            const float* relative, int64_t reach, void* out) {
  int64_t longest = 0;
  for (int64_t s = 0; s < texts; s++) longest = std::max(longest, offsets[s + 1] - offsets[s]);
  float* memory = scratch<2>(room(longest, dim));
#pragma omp for schedule(dynamic, 4)
  for (int64_t task = 0; task < texts * heads; task++) {
    const int64_t s = task / heads, h = task % heads;
    if (offsets[s + 1] > offsets[s])
      head<IN, FLOAT32, OUT>(in, heads, dim, h, offsets[s], offsets[s + 1] - offsets[s], scale,
                    relative ? relative + h * (2 * reach - 1 + 2 * LANES) + reach - 1 : nullptr, memory,
                    (typename Row<OUT>::type*)out);
  }
}

}  // namespace

