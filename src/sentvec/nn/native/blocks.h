// Small matrix products of attention, sixteen queries at a time: scores from queries and keys, sums from scores. Sums run
// over units of a kind M.

#pragma once

#include <type_traits>

#include "units.h"

namespace {

// 16 rows of 16 numbers become 16 columns: four rounds of interleaving
inline void transpose(vf* r) {
  for (int round = 0; round < 4; round++) {
    vf t[LANES];
    for (int i = 0; i < LANES / 2; i++) {
      const vf a = r[i], b = r[i + LANES / 2];
      t[2 * i] = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      t[2 * i + 1] = __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    }
    for (int i = 0; i < LANES; i++) r[i] = t[i];
  }
}

// scores[key][query] for K keys and 16 * J queries: lanes are queries, so that softmax runs down the keys
template <int K, int J, int M>
inline void score_block(const float* k, const float* qt, int64_t units, const float* near, float* scores, vf* top) {
  vf acc[K][J] = {};
  if (near)
    for (int i = 0; i < K; i++)
      for (int j = 0; j < J; j++) acc[i][j] = load_raw<vf>(near - i + j * LANES);
  for (int64_t d = 0; d < units; d++) {
    vf q[J];
    for (int j = 0; j < J; j++) q[j] = load_raw<vf>(qt + (d * J + j) * LANES);
    for (int i = 0; i < K; i++) {
      const vf x = every(k[i * units + d]);
      for (int j = 0; j < J; j++) acc[i][j] = Unit<M>::add(acc[i][j], x, q[j]);
    }
  }
  for (int i = 0; i < K; i++)
    for (int j = 0; j < J; j++) {
      store_raw(scores + (i * J + j) * LANES, acc[i][j]);
      top[j] = vmax(top[j], acc[i][j]);
    }
}

// out[i][feature] = sum over n of w[n * along + i * across] times v[n][feature], for Q rows, 16 * J features and so many
// units: queries from keys where w is transposed scores, or keys from queries the other way round
template <int Q, int J, int M = FLOAT32>
inline void mix_block(const float* w, int64_t along, int64_t across, const float* v, int64_t dim, int64_t units,
                      vf (*acc)[J]) {
  for (int i = 0; i < Q; i++)
    for (int j = 0; j < J; j++) acc[i][j] = vf{};
  for (int64_t n = 0; n < units; n++) {
    vf x[J];
    for (int j = 0; j < J; j++) x[j] = load_raw<vf>(v + n * dim + j * LANES);
    for (int i = 0; i < Q; i++) {
      const vf p = every(w[n * along + i * across]);
      for (int j = 0; j < J; j++) acc[i][j] = Unit<M>::add(acc[i][j], p, x[j]);
    }
  }
}

// as many as 16 * J rows of units (real, units) become columns: out[unit][row], rows that are missing being zero
template <int J> inline void columns(const float* x, int64_t units, int64_t real, float* out) {
  for (int j = 0; j < J; j++)
    for (int64_t d = 0; d < units; d += LANES) {
      vf block[LANES];
      for (int i = 0; i < LANES; i++)
        block[i] = j * LANES + i < real ? load_raw<vf>(x + (j * LANES + i) * units + d) : vf{};
      transpose(block);
      for (int i = 0; i < LANES; i++) store_raw(out + ((d + i) * J + j) * LANES, block[i]);
    }
}

// scores[key][query] of all keys (length, units) and 16 * J queries, given as columns, with the largest of each query
template <int J, int M = FLOAT32>
inline void scores(const float* k, const float* qt, int64_t units, int64_t length, const float* near, float* p,
                   vf (&top)[J]) {
  constexpr int KEYS = J == 1 ? 8 : 6;
  for (int j = 0; j < J; j++) top[j] = splat(-INFINITY);
  int64_t n = 0;
  auto score = [&](auto keys) {
    constexpr int K = decltype(keys)::value;
    for (; n + K <= length; n += K)
      score_block<K, J, M>(k + n * units, qt, units, near ? near - n : nullptr, p + n * J * LANES, top);
  };
  score(std::integral_constant<int, KEYS>());
  score(std::integral_constant<int, 2>());
  score(std::integral_constant<int, 1>());
}

// scores become exponentials of what they are below the largest, and of each query one over their sum
template <int J, bool EXACT = true>
inline void exponents(float* p, const vf (&top)[J], int64_t length, vf (&inverse)[J]) {
  vf total[J];
  for (int j = 0; j < J; j++) total[j] = vf{};
  for (int64_t n = 0; n < length; n++)
    for (int j = 0; j < J; j++) {
      float* at = p + (n * J + j) * LANES;
      const vf e = vexp<EXACT>(load_raw<vf>(at) - top[j]);
      store_raw(at, e);
      total[j] += e;
    }
  for (int j = 0; j < J; j++) inverse[j] = 1.0f / total[j];
}

// rows of exponentials (length, 16 * J) become units, each of two rows; a row that is missing is zero
template <int J> inline void paired(float* p, int64_t length) {
  const vf zero = {};
  for (int64_t n = 0; n < length; n += 2)
    for (int j = 0; j < J; j++) {
      const float* at = p + (n * J + j) * LANES;
      store_raw(p + (n / 2 * J + j) * LANES,
                units_of<BFLOAT16>(at, n + 1 < length ? at + J * LANES : (const float*)&zero));
    }
}

constexpr int QUERIES = 4;  // rows that `mix_block` makes at a time

}  // namespace
