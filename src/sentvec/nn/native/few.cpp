// A whole stack of post-norm layers over few tokens, in one region: with so little to do, to call each product and each
// step by itself, and to let threads meet around each, takes longer than what they compute.
//
// Weights lie as oneDNN packs them: panels of 64 outputs, in each one row of 64 units for every unit of the sum. The
// sums are oneDNN's own, in its order, `deep` units at a time and the bias last, so that a text has the same bits here and
// in a large batch; compiled.py sees to that before it believes it.

#include "steps.h"
#include "tiles.h"

namespace {

struct Map {
  const float* panels;
  const float* bias;
  int64_t in, out, deep;
};

struct Layer {  // every field has eight bytes: few.py writes them one after the other
  Map qkv, output, up, down;
  const float *gamma, *beta, *gamma2, *beta2;
  double eps, eps2, scale;
  int64_t heads, act;
};

// states times a map, its bias and an activation; shared among the threads of a region
template <int K, int ACT>
void product(const void* states, int64_t rows, const Map& map, void* out) {
  typedef typename Row<K>::type T;
  const int64_t units = map.in / Unit<K>::numbers, step = units, most = height(rows);
#pragma omp for collapse(2) schedule(static)
  for (int64_t column = 0; column < map.out; column += WIDTH) {
    for (int64_t row = 0; row < rows; row += most) {
      const float* panel = map.panels + column * units;
      vf acc[MOST][SIDE];
      const float* a = (const float*)states + row * step;
      const int64_t real = std::min(most, rows - row);
      tile<K>(real, a, step, panel, units, map.deep, acc);
      for (int64_t i = 0; i < real; i++) {
        T* to = (T*)out + (row + i) * map.out + column;
        for (int j = 0; j < SIDE; j++)
          Row<K>::store(to + j * LANES, acc[i][j] + load_raw<vf>(map.bias + column + j * LANES));
        if constexpr (ACT >= 0) activate_all<ACT, K>(to, WIDTH, to);
      }
    }
  }
}

template <int K>
void layer(const Layer& l, typename Row<K>::type* states, int64_t rows, const int64_t* offsets, int64_t texts,
           typename Row<K>::type* wide, typename Row<K>::type* narrow) {
  const int64_t hidden = l.output.out, dim = hidden / l.heads;
  product<K, -1>(states, rows, l.qkv, wide);
  const Product mixed{K, wide, nullptr, nullptr, nullptr}, sum{K, wide, nullptr, nullptr, nullptr};
  attend<K, K>(mixed, l.heads, dim, offsets, texts, l.scale, nullptr, 0, narrow);
  product<K, -1>(narrow, rows, l.output, wide);
  norm<K, K>(sum, states, l.gamma, l.beta, l.eps, rows, hidden, states, nullptr, nullptr);
  if (l.act == GELU) product<K, GELU>(states, rows, l.up, wide);
  if (l.act == GELU_TANH) product<K, GELU_TANH>(states, rows, l.up, wide);
  if (l.act == RELU) product<K, RELU>(states, rows, l.up, wide);
  product<K, -1>(wide, rows, l.down, narrow);
  const Product lowered{K, narrow, nullptr, nullptr, nullptr};
  norm<K, K>(lowered, states, l.gamma2, l.beta2, l.eps2, rows, hidden, states, nullptr, nullptr);
}

template <int K>
void stack(const Layer* layers, int64_t count, void* states, int64_t rows, const int64_t* offsets, int64_t texts,
           void* wide, void* narrow) {
  typedef typename Row<K>::type T;
#pragma omp parallel
  for (int64_t n = 0; n < count; n++) layer<K>(layers[n], (T*)states, rows, offsets, texts, (T*)wide, (T*)narrow);
}

}  // namespace

extern "C" {

void sentvec_few_product(int kind, const void* states, int64_t rows, const Map* map, void* out) {
#pragma omp parallel
  if (kind == FLOAT32)
    product<FLOAT32, -1>(states, rows, *map, out);
  else
    product<BFLOAT16, -1>(states, rows, *map, out);
}

void sentvec_few(int kind, const Layer* layers, int64_t count, void* states, int64_t rows, const int64_t* offsets,
                 int64_t texts, void* wide, void* narrow) {
  if (kind == FLOAT32) return stack<FLOAT32>(layers, count, states, rows, offsets, texts, wide, narrow);
  stack<BFLOAT16>(layers, count, states, rows, offsets, texts, wide, narrow);
}
}
