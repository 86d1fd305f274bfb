// A whole stack of post-norm layers with products in int8, over any number of tokens, in one region.
//
// Texts go through all layers a few at a time: what lies between two products stays in the caches of a core, and sums of
// int8 products become what the next product reads without ever being kept themselves. Where there are many texts, each
// thread takes some for itself; where there are few, threads share every step.
//
// Attention multiplies bfloat16 where the processor has it, and float32 elsewhere.
//
// Activations are multiplied with 128 added, for the processor multiplies what has no sign with what has one; `start`
// takes it off again. All sums are exact, so that no bit depends on what else is there, nor on the threads.

#include "steps.h"
#include "tiles.h"

namespace {

constexpr int64_t GROUP = 128;  // tokens that go through the layers at a time, or one text where that is longer

struct Map {
  const float* panels;  // units of four weights
  const float *scale, *bias;
  const int32_t* start;
  int64_t in, out;  // panels, scale, bias and start are filled up with zeros to whole panels of outputs
};

struct Layer {  // every field has eight bytes: int8.py writes them one after the other
  Map qkv, output, up, down;
  const float *gamma, *beta, *gamma2, *beta2;
  double eps, eps2, scale;
  int64_t heads, act;
};

struct Relative {  // what distances add to scores, see `attend`
  const float* line;
  int64_t reach;
  const float* of(int64_t head) const { return line ? line + head * (2 * reach - 1 + 2 * LANES) + reach - 1 : nullptr; }
};

struct Team {  // the threads that share what is done, and which of them this is
  int64_t me, of;
  void meet() const {
    if (of == 1) return;
#pragma omp barrier
  }
  // what is mine of so many: neighbours, so that a panel that came for one tile serves the next
  int64_t first(int64_t count) const { return count * me / of; }
  int64_t last(int64_t count) const { return count * (me + 1) / of; }
};

struct Rows {  // operands, (rows, in) and the scale of each row
  uint8_t* data;
  float* scale;
};

struct Memory {
  Rows narrow, wide;
  float *qkv, *mixed, *raised, *lowered, *own;  // `own` is each thread's
};

// rows times a map, through `put`, which gets sixteen numbers of a row at a time
template <class Put> inline void product(const Team& team, const Rows& a, int64_t rows, const Map& map, Put put) {
  if (rows == 0) return;
  const int64_t units = map.in / Unit<INT8>::numbers, high = height(rows), tiles = (rows + high - 1) / high;
  const int64_t tasks = (map.out + WIDTH - 1) / WIDTH * tiles;
  for (int64_t task = team.first(tasks); task < team.last(tasks); task++) {
    const int64_t column = task / tiles * WIDTH, row = task % tiles * high, real = std::min(high, rows - row);
    vf acc[MOST][SIDE];
    tile<INT8>(real, (const float*)a.data + row * units, units, map.panels + column * units, units, units, acc);
    for (int64_t j = 0; j < SIDE && column + j * LANES < map.out; j++) {
      const int64_t at = column + j * LANES;
      const vi start = load_raw<vi>(map.start + at);
      const vf scale = load_raw<vf>(map.scale + at), bias = load_raw<vf>(map.bias + at);
      for (int64_t i = 0; i < real; i++)
        put(row + i, at, __builtin_convertvector((vi)acc[i][j] + start, vf) * (scale * a.scale[row + i]) + bias);
    }
  }
}

inline void product_to(const Team& team, const Rows& a, int64_t rows, const Map& map, float* out) {
  const int64_t width = map.out;
  product(team, a, rows, map, [=](int64_t row, int64_t column, vf v) { store_raw(out + row * width + column, v); });
}

template <int ACT> inline void raise(const Team& team, const Rows& a, int64_t rows, const Map& map, float* out) {
  const int64_t width = map.out;
  product(team, a, rows, map, [=](int64_t row, int64_t column, vf v) {
    store_raw(out + row * width + column, activate<ACT, false>(v));
  });
}

// rows of float32, which are turned in their place, as operands
inline void operands(const Team& team, float* x, int64_t rows, int64_t width, const Rows& to) {
  for (int64_t t = team.first(rows); t < team.last(rows); t++)
    to.scale[t] = quantise_row<128>(x + t * width, width, to.data + t * width);
}

inline void add_norm(const Team& team, const float* in, float* states, const float* gamma, const float* beta, float eps,
                     int64_t rows, int64_t width, const Rows& to, float* own) {
  const Product sum{FLOAT32, in, nullptr, nullptr, nullptr};
  for (int64_t t = team.first(rows); t < team.last(rows); t++) {
    float* state = states + t * width;
    norm_row<FLOAT32, FLOAT32>(Reader<FLOAT32>(sum, width, t), state, gamma, beta, eps, width, state, own);
    to.scale[t] = quantise_row<128>(own, width, to.data + t * width);
  }
}

// what follows attention, for some rows of a group
void forward(const Team& team, const Layer& l, float* mixed, float* states, int64_t rows, const Rows& narrow,
             const Memory& m) {
  const int64_t hidden = l.output.out, inner = l.down.in;
  operands(team, mixed, rows, hidden, narrow);
  team.meet();
  product_to(team, narrow, rows, l.output, m.lowered);
  team.meet();
  add_norm(team, m.lowered, states, l.gamma, l.beta, l.eps, rows, hidden, narrow, m.own);
  team.meet();
  if (l.act == GELU) raise<GELU>(team, narrow, rows, l.up, m.raised);
  if (l.act == GELU_TANH) raise<GELU_TANH>(team, narrow, rows, l.up, m.raised);
  if (l.act == RELU) raise<RELU>(team, narrow, rows, l.up, m.raised);
  team.meet();
  operands(team, m.raised, rows, inner, m.wide);
  team.meet();
  product_to(team, m.wide, rows, l.down, m.lowered);
  team.meet();
  add_norm(team, m.lowered, states, l.gamma2, l.beta2, l.eps2, rows, hidden, narrow, m.own);
  team.meet();
}

// some texts through all layers
void group(const Team& team, const Layer* layers, int64_t count, float* states, const int64_t* offsets, int64_t texts,
           const Relative& relative, const Memory& m) {
  const int64_t hidden = layers->output.out, rows = offsets[texts] - offsets[0];
  const int64_t parts = (rows + GROUP - 1) / GROUP, some = parts ? (rows + parts - 1) / parts : 1;
  for (int64_t t = team.first(rows); t < team.last(rows); t++) {
    std::copy_n(states + t * hidden, hidden, m.own);
    m.narrow.scale[t] = quantise_row<128>(m.own, hidden, m.narrow.data + t * hidden);
  }
  team.meet();
  for (int64_t n = 0; n < count; n++) {
    const Layer& l = layers[n];
    const int64_t dim = hidden / l.heads;
    product_to(team, m.narrow, rows, l.qkv, m.qkv);
    team.meet();
    const Product mixed{FLOAT32, m.qkv, nullptr, nullptr, nullptr};
    for (int64_t task = team.first(texts * l.heads); task < team.last(texts * l.heads); task++) {
      const int64_t s = task / l.heads, h = task % l.heads;
      if (offsets[s + 1] > offsets[s])
        (dim % (2 * LANES) || !Unit<BFLOAT16>::fast ? head<FLOAT32, FLOAT32, FLOAT32> : head<FLOAT32, BFLOAT16, FLOAT32>)(
            mixed, l.heads, dim, h, offsets[s] - offsets[0], offsets[s + 1] - offsets[s], l.scale, relative.of(h), m.own,
            m.mixed);
    }
    team.meet();
    for (int64_t r = 0; r < rows; r += some) {
      const Rows narrow{m.narrow.data + r * hidden, m.narrow.scale + r};
      forward(team, l, m.mixed + r * hidden, states + r * hidden, std::min(some, rows - r), narrow, m);
    }
  }
}

struct Sizes {
  int64_t rows, narrow, wide, own;  // of the largest group
  int64_t bytes() const {
    return rows * (narrow + 4 + 4 * 4 * narrow) + GROUP * (wide + 4 + 4 * wide + 4 * narrow) + 8 * sizeof(Line);
  }
  Memory in(float* memory, float* own) const {
    Memory m;
    auto floats = [&](int64_t count) {
      float* at = memory;
      memory += (count + LANES - 1) / LANES * LANES;
      return at;
    };
    m.qkv = floats(rows * 3 * narrow);
    m.mixed = floats(rows * narrow);
    m.raised = floats(GROUP * wide);
    m.lowered = floats(GROUP * narrow);
    m.narrow = {(uint8_t*)floats(rows * narrow / 4), floats(rows)};
    m.wide = {(uint8_t*)floats(GROUP * wide / 4), floats(GROUP)};
    m.own = own;
    return m;
  }
};

void stack(const Layer* layers, int64_t count, float* states, const int64_t* offsets, int64_t texts,
           const Relative& relative) {
  const int64_t hidden = layers->output.out;
  Sizes sizes{0, hidden, 0, 0};
  for (int64_t n = 0; n < count; n++) sizes.wide = std::max(sizes.wide, layers[n].down.in);
  std::vector<int64_t> starts{0};  // texts that groups begin with
  int64_t longest = 0;
  for (int64_t s = 0; s < texts; s++) {
    longest = std::max(longest, offsets[s + 1] - offsets[s]);
    const int64_t rows = offsets[s + 1] - offsets[starts.back()];
    if (rows >= GROUP || s + 1 == texts) {
      sizes.rows = std::max(sizes.rows, rows);
      starts.push_back(s + 1);
    }
  }
  for (int64_t n = 0; n < count; n++) {
    const int64_t dim = hidden / layers[n].heads;
    sizes.own = std::max({sizes.own, hidden, room(longest, dim)});
  }
  const int64_t groups = starts.size() - 1;
  const bool alone = groups >= 2 * omp_get_max_threads();
  float* shared = alone ? nullptr : scratch<0>(sizes.bytes() / 4);
#pragma omp parallel
  {
    const Memory m = sizes.in(alone ? scratch<0>(sizes.bytes() / 4) : shared, scratch<1>(sizes.own));
    auto run = [&](const Team& team, int64_t g) {
      group(team, layers, count, states + offsets[starts[g]] * hidden, offsets + starts[g], starts[g + 1] - starts[g],
            relative, m);
    };
    if (alone) {
#pragma omp for schedule(dynamic)
      for (int64_t g = 0; g < groups; g++) run({0, 1}, g);
    } else {
      for (int64_t g = 0; g < groups; g++) run({omp_get_thread_num(), omp_get_num_threads()}, g);
    }
  }
}

}  // namespace

extern "C" {

int sentvec_int8_fast() { return Unit<INT8>::fast; }

// uint8 (rows, in) with one scale each times a map: float32 (rows, out)
void sentvec_int8_product(uint8_t* a, float* scale, int64_t rows, const Map* map, float* out) {
  product_to({0, 1}, {a, scale}, rows, *map, out);
}

void sentvec_int8(const Layer* layers, int64_t count, float* states, const int64_t* offsets, int64_t texts,
                  const float* relative, int64_t reach) {
  stack(layers, count, states, offsets, texts, {relative, reach});
}
}
