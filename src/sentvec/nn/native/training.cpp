// What lies between the matrix products of a training step, forward and backward: attention, dropout, normalisation.
// Called by passes.py.
//
// States that are added up from layer to layer, and their gradients, are float32; what goes into a product is of the
// products' kind, float32 or bfloat16. Dropout is drawn anew from its seed wherever it is needed.

#include <omp.h>

#include <algorithm>
#include <vector>

#include "blocks.h"
#include "random.h"

namespace {

// out = norm(residual + dropped(in)): kept for the way back are the normalised numbers and what they were scaled with
template <int K>
void add_norm(const void* in, const float* residual, const Dropout& drop, const float* gamma, const float* beta,
              float eps, int64_t rows, int64_t width, float* out, void* operand, void* normed, float* scales) {
  typedef typename Row<K>::type T;
#pragma omp parallel
  {
    std::vector<float> scratch(width);
    float* x = scratch.data();
#pragma omp for schedule(dynamic, 32)
    for (int64_t t = 0; t < rows; t++) {
      const T* y = (const T*)in + t * width;
      const RowKey key(drop, t);
      vf s = {}, s2 = {};
      for (int64_t i = 0; i < width; i += LANES) {
        vf v = Row<K>::load(y + i);
        if (!drop.none()) v *= factor(drop, key, columns_from(i));
        v += load_raw<vf>(residual + t * width + i);
        store_raw(x + i, v);
        s += v;
      }
      const float mean = sum(s) / width;
      for (int64_t i = 0; i < width; i += LANES) {
        const vf d = load_raw<vf>(x + i) - mean;
        s2 += d * d;
      }
      const float scale = 1.0f / std::sqrt(sum(s2) / width + eps);
      scales[t] = scale;
      for (int64_t i = 0; i < width; i += LANES) {
        const int64_t at = t * width + i;
        const vf n = (load_raw<vf>(x + i) - mean) * scale;
        const vf v = n * load_raw<vf>(gamma + i) + load_raw<vf>(beta + i);
        Row<K>::store((T*)normed + at, n);
        store_raw(out + at, v);
        if (K != FLOAT32) Row<K>::store((T*)operand + at, v);
      }
    }
  }
}

// the gradient of what was normalised, and of what was dropped before it was added; sums (2, width): of gamma and beta
template <int K>
void norm_back(const float* gradient, const void* normed, const float* scales, const float* gamma,
               const Dropout& drop, int64_t rows, int64_t width, float* out, void* dropped, float* sums) {
  typedef typename Row<K>::type T;
  std::vector<float> parts(omp_get_max_threads() * 2 * width);
#pragma omp parallel
  {
    float* part = parts.data() + omp_get_thread_num() * 2 * width;
#pragma omp for schedule(static)
    for (int64_t t = 0; t < rows; t++) {
      const float* g = gradient + t * width;
      const T* n = (const T*)normed + t * width;
      vf s = {}, sn = {};
      for (int64_t i = 0; i < width; i += LANES) {
        const vf d = load_raw<vf>(g + i), v = Row<K>::load(n + i), dg = d * load_raw<vf>(gamma + i);
        store_raw(part + i, load_raw<vf>(part + i) + d * v);
        store_raw(part + width + i, load_raw<vf>(part + width + i) + d);
        s += dg;
        sn += dg * v;
      }
      const float mean = sum(s) / width, along = sum(sn) / width, scale = scales[t];
      const RowKey key(drop, t);
      for (int64_t i = 0; i < width; i += LANES) {
        vf d = load_raw<vf>(g + i) * load_raw<vf>(gamma + i) - mean - Row<K>::load(n + i) * along;
        d *= scale;
        store_raw(out + t * width + i, d);
        if (!drop.none()) d *= factor(drop, key, columns_from(i));
        if (dropped) Row<K>::store((T*)dropped + t * width + i, d);
      }
    }
  }
  for (int64_t i = 0; i < 2 * width; i++) {  // in the threads' order, so that sums are the same every time
    float total = 0;
    for (int n = 0; n < omp_get_max_threads(); n++) total += parts[n * 2 * width + i];
    sums[i] = total;
  }
}

struct Shape {
  int64_t heads, dim;
  float scale;
  const float* relative;  // what distances add to scores, (heads, 2 * reach - 1 + 32), or null
  int64_t reach;
  int64_t hidden() const { return heads * dim; }
  int64_t line() const { return 2 * reach - 1 + 2 * LANES; }  // the last lanes of a block look beyond the text
  int64_t at(int64_t head, int64_t r) const { return head * line() + reach - 1 + r; }  // where query r meets key 0
  const float* near(int64_t head, int64_t r) const { return relative ? relative + at(head, r) : nullptr; }
};

// queries, keys or values of one head of one text as float32, (length, dim)
template <int K>
inline void gather(const void* from, int64_t width, int64_t column, int64_t first, int64_t length, int64_t dim,
                   float by, float* to) {
  for (int64_t n = 0; n < length; n++)
    for (int64_t d = 0; d < dim; d += LANES)
      store_raw(to + n * dim + d,
                Row<K>::load((const typename Row<K>::type*)from + (first + n) * width + column + d) * by);
}

// rows of `mix_block`, all of them, each vector to `put`
template <class Put>
inline void mix(const float* w, int64_t along, int64_t across, const float* v, int64_t dim, int64_t length,
                int64_t rows, Put put) {
  for (int64_t r = 0; r < rows; r += QUERIES) {
    const int64_t real = std::min<int64_t>(rows - r, QUERIES);
    int64_t d = 0;
    auto block = [&](auto width) {
      constexpr int W = decltype(width)::value;
      vf acc[QUERIES][W];
      mix_block<QUERIES, W>(w + r * across, along, across, v + d, dim, length, acc);
      for (int64_t i = 0; i < real; i++)
        for (int j = 0; j < W; j++) put(r + i, d + j * LANES, acc[i][j]);
      d += W * LANES;
    };
    while (d + 2 * LANES <= dim) block(std::integral_constant<int, 2>());
    while (d < dim) block(std::integral_constant<int, 1>());
  }
}

// scores (length, 16 * J) become probabilities, and a copy of them that went through dropout
template <int J>
inline void softmax(float* p, const vf (&top)[J], int64_t length, const Dropout& drop, const RowKey* keys,
                    float* dropped) {
  vf inverse[J];
  exponents<J>(p, top, length, inverse);
  for (int64_t n = 0; n < length; n++)
    for (int j = 0; j < J; j++) {
      const int64_t at = (n * J + j) * LANES;
      const vf v = load_raw<vf>(p + at) * inverse[j];
      store_raw(p + at, v);
      store_raw(dropped + at, drop.none() ? v : v * factor(drop, keys[j], (uint32_t)n - vu{}));
    }
}

// memory for one head of one text
struct Scratch {
  float *q, *k, *v, *d, *dk, *dv, *columns, *p, *dropped, *g;
  std::vector<float> memory;
  Scratch(int64_t longest, int64_t dim) {
    const int64_t rows = (longest + QUERIES) * dim, block = (longest + QUERIES) * 2 * LANES;
    memory.resize(6 * rows + 2 * LANES * dim + 3 * block);
    float* at = memory.data();
    for (float** part : {&q, &k, &v, &d, &dk, &dv}) *part = at, at += rows;
    columns = at, at += 2 * LANES * dim;
    for (float** part : {&p, &dropped, &g}) *part = at, at += block;
  }
};

template <int K, int J>
inline void ahead(const Shape& shape, Scratch& s, int64_t first, int64_t head, int64_t r, int64_t real,
                  int64_t length, const Dropout& drop, typename Row<K>::type* out) {
  vf top[J];
  columns<J>(s.q + r * shape.dim, shape.dim, real, s.columns);
  scores<J>(s.k, s.columns, shape.dim, length, shape.near(head, r), s.p, top);
  RowKey keys[2] = {{drop, (first + r) * shape.heads + head, shape.heads},
                    {drop, (first + r + LANES) * shape.heads + head, shape.heads}};
  softmax<J>(s.p, top, length, drop, keys, s.dropped);
  out += (first + r) * shape.hidden() + head * shape.dim;
  mix(s.dropped, J * LANES, 1, s.v, shape.dim, length, real,
      [&](int64_t row, int64_t d, vf x) { Row<K>::store(out + row * shape.hidden() + d, x); });
}

template <int K, int J>
inline void behind(const Shape& shape, Scratch& s, int64_t first, int64_t head, int64_t r, int64_t real,
                   int64_t length, const Dropout& drop, typename Row<K>::type* out, float* relative) {
  const int64_t dim = shape.dim;
  vf top[J], along[J];
  columns<J>(s.q + r * dim, dim, real, s.columns);
  scores<J>(s.k, s.columns, dim, length, shape.near(head, r), s.p, top);
  RowKey keys[2] = {{drop, (first + r) * shape.heads + head, shape.heads},
                    {drop, (first + r + LANES) * shape.heads + head, shape.heads}};
  softmax<J>(s.p, top, length, drop, keys, s.dropped);
  columns<J>(s.d + r * dim, dim, real, s.columns);
  scores<J>(s.v, s.columns, dim, length, nullptr, s.g, top);  // gradient of the dropped probabilities
  for (int j = 0; j < J; j++) along[j] = vf{};
  for (int64_t n = 0; n < length; n++)
    for (int j = 0; j < J; j++) {
      const int64_t at = (n * J + j) * LANES;
      const vf both = load_raw<vf>(s.g + at) * load_raw<vf>(s.dropped + at);
      store_raw(s.g + at, both);
      along[j] += both;
    }
  for (int64_t n = 0; n < length; n++)
    for (int j = 0; j < J; j++) {
      const int64_t at = (n * J + j) * LANES;
      const vf g = load_raw<vf>(s.g + at) - load_raw<vf>(s.p + at) * along[j];  // gradient of the scores
      store_raw(s.g + at, g);
      if (relative) {  // queries beyond the text have none
        float* to = relative + shape.at(head, r) + j * LANES - n;
        store_raw(to, load_raw<vf>(to) + g);
      }
    }
  const int64_t width = 3 * shape.hidden();
  typename Row<K>::type* dq = out + (first + r) * width + head * dim;
  mix(s.g, J * LANES, 1, s.k, dim, length, real,
      [&](int64_t row, int64_t d, vf x) { Row<K>::store(dq + row * width + d, x * shape.scale); });
  auto add = [&](float* to) {
    return [=](int64_t row, int64_t d, vf x) {
      store_raw(to + row * dim + d, load_raw<vf>(to + row * dim + d) + x);
    };
  };
  mix(s.g, 1, J * LANES, s.q + r * dim, dim, real, length, add(s.dk));  // queries were scaled already
  mix(s.dropped, 1, J * LANES, s.d + r * dim, dim, real, length, add(s.dv));
}

// queries, keys and values (rows, 3 * hidden) in; without `gradient` what they give, (rows, hidden); with it, the
// gradient of that, their own
template <int K>
void attend(const void* qkv, const void* gradient, const Shape& shape, const int64_t* offsets, int64_t texts,
            const Dropout& drop, void* out, float* relative) {
  typedef typename Row<K>::type T;
  const int64_t lines = relative ? shape.heads * shape.line() : 0;
  std::vector<float> parts(omp_get_max_threads() * lines);
  int64_t longest = 0;
  for (int64_t s = 0; s < texts; s++) longest = std::max(longest, offsets[s + 1] - offsets[s]);
  const int64_t dim = shape.dim, hidden = shape.hidden();
#pragma omp parallel
  {
    Scratch s(longest, dim);
    float* part = relative ? parts.data() + omp_get_thread_num() * lines : nullptr;
    auto run = [&](int64_t task) {
      const int64_t text = task / shape.heads, head = task % shape.heads;
      const int64_t first = offsets[text], length = offsets[text + 1] - first;
      gather<K>(qkv, 3 * hidden, head * dim, first, length, dim, shape.scale, s.q);
      gather<K>(qkv, 3 * hidden, hidden + head * dim, first, length, dim, 1, s.k);
      gather<K>(qkv, 3 * hidden, 2 * hidden + head * dim, first, length, dim, 1, s.v);
      if (gradient) {
        gather<K>(gradient, hidden, head * dim, first, length, dim, 1, s.d);
        std::fill_n(s.dk, length * dim, 0.0f);
        std::fill_n(s.dv, length * dim, 0.0f);
      }
      for (int64_t r = 0; r < length;) {
        const int64_t left = length - r, real = std::min<int64_t>(left, 2 * LANES);
        if (gradient && left > LANES)
          behind<K, 2>(shape, s, first, head, r, real, length, drop, (T*)out, part);
        else if (gradient)
          behind<K, 1>(shape, s, first, head, r, real, length, drop, (T*)out, part);
        else if (left > LANES)
          ahead<K, 2>(shape, s, first, head, r, real, length, drop, (T*)out);
        else
          ahead<K, 1>(shape, s, first, head, r, real, length, drop, (T*)out);
        r += left > LANES ? 2 * LANES : LANES;
      }
      if (!gradient) return;
      for (int64_t n = 0; n < length; n++)
        for (int64_t d = 0; d < dim; d += LANES) {
          T* at = (T*)out + (first + n) * 3 * hidden + head * dim + d;
          Row<K>::store(at + hidden, load_raw<vf>(s.dk + n * dim + d));
          Row<K>::store(at + 2 * hidden, load_raw<vf>(s.dv + n * dim + d));
        }
    };
    if (relative) {  // who has which task must not change, or sums would
#pragma omp for schedule(static, 4)
      for (int64_t task = 0; task < texts * shape.heads; task++) run(task);
    } else {
#pragma omp for schedule(dynamic, 4)
      for (int64_t task = 0; task < texts * shape.heads; task++) run(task);
    }
  }
  for (int64_t i = 0; i < lines; i++)  // in the threads' order, so that sums are the same every time
    for (int n = 0; n < omp_get_max_threads(); n++) relative[i] += parts[n * lines + i];
}

// rows of several tables, added up, normalised and dropped; a table without index gives its first row to all
struct Table {
  const float* rows;
  const int64_t* index;
  inline const float* at(int64_t t, int64_t width) const { return rows + (index ? index[t] : 0) * width; }
};

void embed(const Table* tables, int64_t count, const Dropout& drop, const float* gamma, const float* beta, float eps,
           int64_t rows, int64_t width, float* out, float* normed, float* scales) {
#pragma omp parallel for schedule(static)
  for (int64_t t = 0; t < rows; t++) {
    float *x = normed + t * width, *to = out + t * width;
    vf s = {}, s2 = {};
    for (int64_t i = 0; i < width; i += LANES) {
      vf v = load_raw<vf>(tables[0].at(t, width) + i);
      for (int64_t n = 1; n < count; n++) v += load_raw<vf>(tables[n].at(t, width) + i);
      store_raw(x + i, v);
      s += v;
    }
    const float mean = sum(s) / width;
    for (int64_t i = 0; i < width; i += LANES) {
      const vf d = load_raw<vf>(x + i) - mean;
      s2 += d * d;
    }
    const float scale = scales[t] = 1.0f / std::sqrt(sum(s2) / width + eps);
    const RowKey key(drop, t);
    for (int64_t i = 0; i < width; i += LANES) {
      const vf n = (load_raw<vf>(x + i) - mean) * scale;
      store_raw(x + i, n);
      const vf v = n * load_raw<vf>(gamma + i) + load_raw<vf>(beta + i);
      store_raw(to + i, drop.none() ? v : v * factor(drop, key, columns_from(i)));
    }
  }
}

}  // namespace

extern "C" {

void sentvec_train_norm(int kind, const void* in, const float* residual, float share, int64_t seed, int64_t site,
                        const float* gamma, const float* beta, float eps, int64_t rows, int64_t width, float* out,
                        void* operand, void* normed, float* scales) {
  const Dropout drop(share, seed, site);
  if (kind == FLOAT32)
    return add_norm<FLOAT32>(in, residual, drop, gamma, beta, eps, rows, width, out, operand, normed, scales);
  add_norm<BFLOAT16>(in, residual, drop, gamma, beta, eps, rows, width, out, operand, normed, scales);
}

void sentvec_norm_back(int kind, const float* gradient, const void* normed, const float* scales, const float* gamma,
                       float share, int64_t seed, int64_t site, int64_t rows, int64_t width, float* out,
                       void* dropped, float* sums) {
  const Dropout drop(share, seed, site);
  if (kind == FLOAT32)
    return norm_back<FLOAT32>(gradient, normed, scales, gamma, drop, rows, width, out, dropped, sums);
  norm_back<BFLOAT16>(gradient, normed, scales, gamma, drop, rows, width, out, dropped, sums);
}

void sentvec_train_attention(int kind, const void* qkv, const void* gradient, int64_t heads, int64_t dim, float scale,
                             const float* relative, int64_t reach, const int64_t* offsets, int64_t texts, float share,
                             int64_t seed, int64_t site, void* out, float* relative_gradient) {
  const Dropout drop(share, seed, site);
  const Shape shape{heads, dim, scale, relative, reach};
  if (kind == FLOAT32) return attend<FLOAT32>(qkv, gradient, shape, offsets, texts, drop, out, relative_gradient);
  attend<BFLOAT16>(qkv, gradient, shape, offsets, texts, drop, out, relative_gradient);
}

void sentvec_drop(const float* in, float share, int64_t seed, int64_t site, int64_t rows, int64_t width, float* out) {
  const Dropout drop(share, seed, site);
#pragma omp parallel for schedule(static)
  for (int64_t t = 0; t < rows; t++) {
    const RowKey key(drop, t);
    for (int64_t i = 0; i < width; i += LANES)
      store_raw(out + t * width + i, load_raw<vf>(in + t * width + i) * factor(drop, key, columns_from(i)));
  }
}

void sentvec_embed(const float* const* tables, const int64_t* const* indices, int64_t count, float share, int64_t seed,
                   int64_t site, const float* gamma, const float* beta, float eps, int64_t rows, int64_t width,
                   float* out, float* normed, float* scales) {
  std::vector<Table> all;
  for (int64_t n = 0; n < count; n++) all.push_back({tables[n], indices[n]});
  embed(all.data(), count, Dropout(share, seed, site), gamma, beta, eps, rows, width, out, normed, scales);
}

// adds rows to those of a table that the index names; each thread has columns of its own, so the order is the same
// every time
void sentvec_scatter(const float* from, const int64_t* index, int64_t rows, int64_t width, float* table) {
#pragma omp parallel
  {
    const int64_t vectors = width / LANES, threads = omp_get_num_threads(), me = omp_get_thread_num();
    const int64_t first = vectors * me / threads * LANES, last = vectors * (me + 1) / threads * LANES;
    for (int64_t t = 0; t < rows; t++) {
      float* to = table + (index ? index[t] : 0) * width;
      for (int64_t i = first; i < last; i += LANES)
        store_raw(to + i, load_raw<vf>(to + i) + load_raw<vf>(from + t * width + i));
    }
  }
}
}
