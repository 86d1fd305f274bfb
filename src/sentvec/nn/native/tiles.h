// Tiles of matrix products: a few rows of units times a panel of packed weights, which is 64 outputs, one row of 64 units
// for every unit of the sum. What each product makes of the sums is its own.

#pragma once

#include "products.h"

namespace {

constexpr int MOST = 6, SIDE = 4, WIDTH = SIDE * LANES;  // rows and columns of a tile
constexpr int AHEAD = 16;                               // units that are fetched before their turn

// acc = row i of a, which begins at a + i * step, times b, `deep` units at a time
template <int K, int R>
__attribute__((noinline)) void tile_of(const float* a, int64_t step, const float* b, int64_t units, int64_t deep,
                                       vf (*acc)[SIDE]) {
  for (int64_t first = 0; first < units; first += deep) {
    vf sum[R][SIDE];
#pragma GCC unroll 8
    for (int i = 0; i < R; i++)
#pragma GCC unroll 4
      for (int j = 0; j < SIDE; j++) sum[i][j] = vf{};
    const int64_t last = std::min(units, first + deep);
    for (int64_t n = first; n < last; n++, b += WIDTH) {
      vf x[SIDE];
#pragma GCC unroll 4
      for (int j = 0; j < SIDE; j++) {
        x[j] = load_raw<vf>(b + j * LANES);
        __builtin_prefetch(b + AHEAD * WIDTH + j * LANES);
      }
#pragma GCC unroll 8
      for (int i = 0; i < R; i++) {
        const vf y = every(a[i * step + n]);
#pragma GCC unroll 4
        for (int j = 0; j < SIDE; j++) sum[i][j] = Unit<K>::add(sum[i][j], y, x[j]);
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < R; i++)
#pragma GCC unroll 4
      for (int j = 0; j < SIDE; j++) acc[i][j] = first ? acc[i][j] + sum[i][j] : sum[i][j];
  }
}

// the same for as many rows as there are, from 1 to MOST
template <int K>
inline void tile(int64_t rows, const float* a, int64_t step, const float* b, int64_t units, int64_t deep,
                 vf (*acc)[SIDE]) {
  switch (rows) {
    case 1: return tile_of<K, 1>(a, step, b, units, deep, acc);
    case 2: return tile_of<K, 2>(a, step, b, units, deep, acc);
    case 3: return tile_of<K, 3>(a, step, b, units, deep, acc);
    case 4: return tile_of<K, 4>(a, step, b, units, deep, acc);
    case 5: return tile_of<K, 5>(a, step, b, units, deep, acc);
    default: tile_of<K, 6>(a, step, b, units, deep, acc);
  }
}

// rows that tiles take, so that all tiles have nearly as many
inline int64_t height(int64_t rows) {
  const int64_t tiles = (rows + MOST - 1) / MOST;
  return (rows + tiles - 1) / tiles;
}

}  // namespace
