// AdamW over all parameters in one pass, and the length of their gradient. Called by descent.py.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr int64_t CHUNK = 16384;  // numbers that a thread takes at a time
constexpr int64_t LINE = 64;      // numbers that are looked at together for whether anything happens to them

struct Part {
  int64_t tensor, first, last;
};

std::vector<Part> parts_of(const int64_t* sizes, int64_t count) {
  std::vector<Part> parts;
  for (int64_t n = 0; n < count; n++)
    for (int64_t i = 0; i < sizes[n]; i += CHUNK) parts.push_back({n, i, std::min(sizes[n], i + CHUNK)});
  return parts;
}

inline uint32_t bits(float x) {
  uint32_t y;
  std::memcpy(&y, &x, sizeof y);
  return y;
}

}  // namespace

extern "C" {

double sentvec_length(const float* const* gradients, const int64_t* sizes, int64_t count) {
  const std::vector<Part> parts = parts_of(sizes, count);
  std::vector<double> sums(parts.size());
#pragma omp parallel for schedule(static)
  for (size_t n = 0; n < parts.size(); n++) {
    const float* g = gradients[parts[n].tensor];
    float lanes[LINE] = {};
    int64_t i = parts[n].first;
    for (; i + LINE <= parts[n].last; i += LINE)
      for (int64_t j = 0; j < LINE; j++) lanes[j] += g[i + j] * g[i + j];
    for (; i < parts[n].last; i++) sums[n] += (double)g[i] * g[i];
    for (float x : lanes) sums[n] += x;
  }
  double total = 0;  // in the order of the parts, so that it is the same every time
  for (double x : sums) total += x;
  return std::sqrt(total);
}

// rates, decays and corrections are one for each tensor; gradients are multiplied with `scale` before they are used
void sentvec_adamw(float* const* weights, const float* const* gradients, float* const* means, float* const* squares,
                   const int64_t* sizes, int64_t count, const double* rates, const double* decays,
                   const double* steps, double beta1, double beta2, double eps, double scale) {
  const std::vector<Part> parts = parts_of(sizes, count);
#pragma omp parallel for schedule(dynamic)
  for (size_t n = 0; n < parts.size(); n++) {
    const int64_t t = parts[n].tensor;
    float *__restrict__ w = weights[t], *__restrict__ m = means[t], *__restrict__ v = squares[t];
    const float* __restrict__ g = gradients[t];
    const float shrink = 1 - rates[t] * decays[t], by = scale, left1 = 1 - beta1, keep2 = beta2, left2 = 1 - beta2;
    const float rate = rates[t] / (1 - std::pow(beta1, steps[t])), least = eps;
    const float root = 1 / std::sqrt(1 - std::pow(beta2, steps[t]));
    for (int64_t first = parts[n].first; first < parts[n].last; first += LINE) {
      const int64_t last = std::min(parts[n].last, first + LINE);
      uint32_t any = 0;  // bits, for NaN must not pass as nothing
      for (int64_t i = first; i < last; i++) any |= bits(g[i]) | bits(m[i]) | bits(v[i]);
      if (!any) {  // a word that no text had: nothing happens to it but decay
        if (shrink != 1)
          for (int64_t i = first; i < last; i++) w[i] *= shrink;
        continue;
      }
      for (int64_t i = first; i < last; i++) {
        const float d = g[i] * by;
        m[i] += left1 * (d - m[i]);
        v[i] = keep2 * v[i] + left2 * d * d;
        w[i] = w[i] * shrink - rate * m[i] / (std::sqrt(v[i]) * root + least);
      }
    }
  }
}
}
