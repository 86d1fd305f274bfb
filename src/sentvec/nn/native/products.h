// Matrix products of a training step: activations and a matrix of weights in, activations out, through an epilogue that
// sees every number once while it is still in a register; and products of two activations, which are gradients.
//
// The kernel makes ROWS x 16 * WIDE numbers at a time from one column of units and one row of packed units.

#pragma once

#include <omp.h>

#include <algorithm>

#include "blocks.h"

namespace {

constexpr int ROWS = 8, WIDE = 3, PANEL = WIDE * LANES;
constexpr int64_t FEW = 3 * ROWS;  // tokens that meet a panel while it is near: few, so that threads end together
constexpr int64_t BLOCK = 48;      // the same for gradients of weights, whose rows are features
constexpr int64_t DEEP = 2048;       // numbers that are summed at a time, so that panels stay in the second cache

inline int64_t panel_width(int64_t columns, int64_t first) {
  return std::min<int64_t>(PANEL, (columns - first + LANES - 1) / LANES * LANES);
}

// acc[i][j] = sum of a's units times b's, where row i of a begins at a[i] and goes on by `step`. Not inlined: inside
// other code there are not enough registers for all sums.
template <int K, int J>
__attribute__((noinline)) void kernel(const float* const* a, int64_t step, const float* b, int64_t units,
                                      vf (*acc)[WIDE]) {
  vf sum[ROWS][J];
#pragma GCC unroll 8
  for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 4
    for (int j = 0; j < J; j++) sum[i][j] = vf{};
  const float *a0 = a[0], *a1 = a[1], *a2 = a[2], *a3 = a[3], *a4 = a[4], *a5 = a[5], *a6 = a[6], *a7 = a[7];
  for (int64_t n = 0, at = 0; n < units; n++, at += step, b += J * LANES) {
    vf x[J];
#pragma GCC unroll 4
    for (int j = 0; j < J; j++) x[j] = load_raw<vf>(b + j * LANES);
    const float y[ROWS] = {a0[at], a1[at], a2[at], a3[at], a4[at], a5[at], a6[at], a7[at]};
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 4
      for (int j = 0; j < J; j++) sum[i][j] = Unit<K>::add(sum[i][j], every(y[i]), x[j]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 4
    for (int j = 0; j < J; j++) acc[i][j] = sum[i][j];
}

// rows [first, first + rows) of a times a panel, row by row to the epilogue
template <int K, class E>
inline void panel(const float* const* a, int64_t step, int64_t rows, const float* b, int64_t units, int64_t first,
                  int64_t column, int64_t width, E& epilogue) {
  vf acc[ROWS][WIDE];
  if (width == PANEL)
    kernel<K, 3>(a, step, b, units, acc);
  else if (width == 2 * LANES)
    kernel<K, 2>(a, step, b, units, acc);
  else
    kernel<K, 1>(a, step, b, units, acc);
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j * LANES < width; j++) epilogue.put(first + i, column + j * LANES, acc[i][j]);
}

// two rows of bfloat16 side by side as units, or one of float32; a row that is missing is zero
template <int K> inline vf zipped(const void* rows, int64_t row, int64_t count, int64_t width, int64_t column) {
  if constexpr (K == FLOAT32) return load_raw<vf>((const float*)rows + row * width + column);
  const uint16_t* at = (const uint16_t*)rows + row * width + column;
  vu both = widened(load_raw<vh>(at));
  if (row + 1 < count) both |= widened(load_raw<vh>(at + width)) << 16;
  return (vf)both;
}

// a matrix (out, in) float32 in panels, for activations (rows, in); shared among the threads that call it
template <int K> void pack_forward(const float* matrix, int64_t out, int64_t in, float* panels) {
  constexpr int per = Unit<K>::numbers;
  const int64_t units = in / per;
#pragma omp for schedule(dynamic)
  for (int64_t o = 0; o < out; o += LANES) {
    const int64_t c = o / PANEL * PANEL, width = panel_width(out, c);
    for (int64_t u = 0; u < units; u += LANES) {
      vf tile[LANES];
      const int64_t real = std::min<int64_t>(LANES, units - u);
      for (int n = 0; n < LANES; n++) tile[n] = units_of<K>(matrix + (o + n) * in + u * per, real);
      transpose(tile);
      for (int64_t n = 0; n < real; n++) store_raw(panels + c * units + (u + n) * width + o - c, tile[n]);
    }
  }
}

// the same for gradients (rows, out)
template <int K> void pack_back(const float* matrix, int64_t out, int64_t in, float* panels) {
  constexpr int per = Unit<K>::numbers;
  const int64_t units = out / per;
#pragma omp for schedule(dynamic)
  for (int64_t u = 0; u < units; u += 8)
    for (int64_t first = 0; first < in; first += PANEL) {
      const int64_t width = panel_width(in, first);
      for (int64_t n = u; n < std::min(units, u + 8); n++)
        for (int64_t j = 0; j < width; j += LANES) {
          const float* row = matrix + n * per * in + first + j;
          store_raw(panels + first * units + n * width + j, units_of<K>(row, row + in));
        }
    }
}

// activations (rows, in) times a matrix (out, in) float32, or gradients (rows, out) times the same on the way `back`.
// It is packed for every product: one that was packed before would have left the caches, and may have changed.
template <int K, bool BACK, class E>
void multiply(const void* a, int64_t rows, const float* matrix, int64_t out, int64_t in, const E& epilogue) {
  const int64_t depth = BACK ? out : in, columns = BACK ? in : out, units = depth / Unit<K>::numbers;
  float* panels = scratch<0>(units * columns);
#pragma omp parallel
  {
    if (BACK)
      pack_back<K>(matrix, out, in, panels);
    else
      pack_forward<K>(matrix, out, in, panels);
    E mine = epilogue;
#pragma omp for schedule(dynamic)
    for (int64_t r = 0; r < rows; r += FEW)
      for (int64_t c = 0; c < columns; c += PANEL)
        for (int64_t i = r; i < std::min(rows, r + FEW); i += ROWS) {
          const int64_t real = std::min<int64_t>(ROWS, rows - i);
          const float* at[ROWS];
          for (int64_t n = 0; n < ROWS; n++) at[n] = (const float*)a + (i + std::min(n, real - 1)) * units;
          panel<K>(at, 1, real, panels + c * units, units, i, c, panel_width(columns, c), mine);
        }
  }
}

// out (left_width, right_width) float32 = or += left^T right, both (rows, their width): the gradient of weights. And
// that of the bias: sums (left_width,) of left's rows, where asked for. Widths are multiples of 16.
template <int K>
void outer(const void* left, const void* right, int64_t rows, int64_t left_width, int64_t right_width, float* out,
           float* sums, bool add, bool add_sums) {
  constexpr int per = Unit<K>::numbers;
  struct Sum {
    float* out;
    int64_t width;
    bool add;
    inline void put(int64_t row, int64_t column, vf v) {
      float* at = out + row * width + column;
      store_raw(at, add ? load_raw<vf>(at) + v : v);
    }
  };
  const int64_t parts = (rows + DEEP - 1) / DEEP, deep = ((rows + parts - 1) / parts + 1) / 2 * 2;
  float* room = scratch<0>(deep / per * right_width);
#pragma omp parallel
  {
    int64_t block = BLOCK;  // smaller where some threads would get nothing
    while (block > LANES && left_width < 2 * omp_get_num_threads() * block) block -= LANES;
    float* packed = scratch<1>(block * deep / per);
    for (int64_t from = 0; from < rows; from += deep) {
      const int64_t to = std::min(rows, from + deep), units = (to - from + per - 1) / per;
#pragma omp for schedule(dynamic)
      for (int64_t u = 0; u < units; u += 8)  // a few rows at a time: what is read and what is written stays near
        for (int64_t c = 0; c < right_width; c += PANEL) {
          const int64_t width = panel_width(right_width, c);
          for (int64_t n = u; n < std::min(units, u + 8); n++)
            for (int64_t j = 0; j < width; j += LANES)
              store_raw(room + c * units + n * width + j, zipped<K>(right, from + n * per, rows, right_width, c + j));
        }
      Sum sum{out, right_width, add || from > 0};
#pragma omp for schedule(dynamic)
      for (int64_t r = 0; r < left_width; r += block) {
        const int64_t width = std::min(block, left_width - r);
        vf totals[BLOCK / LANES] = {};
        for (int64_t u = 0; u < units; u++)
          for (int64_t i = 0; i < width; i += LANES) {
            const vf both = zipped<K>(left, from + u * per, rows, left_width, r + i);
            float* at = packed + i * units + u * ROWS;
            store_raw(at, __builtin_shufflevector(both, both, 0, 1, 2, 3, 4, 5, 6, 7));
            store_raw(at + ROWS * units, __builtin_shufflevector(both, both, 8, 9, 10, 11, 12, 13, 14, 15));
            totals[i / LANES] += Unit<K>::sum(both);
          }
        for (int64_t i = 0; sums && i < width; i += LANES)
          store_raw(sums + r + i, totals[i / LANES] + (add_sums || from > 0 ? load_raw<vf>(sums + r + i) : vf{}));
        for (int64_t c = 0; c < right_width; c += PANEL)
          for (int64_t i = 0; i < width; i += ROWS) {
            const float* at[ROWS];
            for (int64_t n = 0; n < ROWS; n++) at[n] = packed + i * units + n;
            panel<K>(at, ROWS, ROWS, room + c * units, units, r + i, c, panel_width(right_width, c), sum);
          }
      }
    }
  }
}

}  // namespace
