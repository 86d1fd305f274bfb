// Attention and the element-wise steps of a layer over packed tokens, one at a time: matrix products in, the next
// operands out. The loops are in steps.h, the matrix products themselves stay with oneDNN.
//
// Compiled, loaded and called by compiled.py; steps.py says in torch what each function computes.

#include "steps.h"

extern "C" {

void sentvec_attention(int in, const void* data, const float* row_scale, const float* column_scale, const float* bias,
                       int64_t heads, int64_t dim, const int64_t* offsets, int64_t texts, float scale,
                       const float* relative, int64_t reach, void* out) {
  Product p{in, data, row_scale, column_scale, bias};
  if (in == FLOAT32) {
#pragma omp parallel
    attend<FLOAT32, FLOAT32>(p, heads, dim, offsets, texts, scale, relative, reach, out);
    return;
  }
  if (in == BFLOAT16) {
#pragma omp parallel
    attend<BFLOAT16, BFLOAT16>(p, heads, dim, offsets, texts, scale, relative, reach, out);
    return;
  }
#pragma omp parallel
  attend<INT32, FLOAT32>(p, heads, dim, offsets, texts, scale, relative, reach, out);
}

void sentvec_norm(int in, const void* data, const float* row_scale, const float* column_scale, const float* bias,
                  const void* residual, const float* gamma, const float* beta, float eps, int64_t rows, int64_t width,
                  void* out, int8_t* q, float* q_scale) {
  Product p{in, data, row_scale, column_scale, bias};
  if (in == FLOAT32) {
#pragma omp parallel
    norm<FLOAT32, FLOAT32>(p, residual, gamma, beta, eps, rows, width, out, q, q_scale);
    return;
  }
  if (in == BFLOAT16) {
#pragma omp parallel
    norm<BFLOAT16, BFLOAT16>(p, residual, gamma, beta, eps, rows, width, out, q, q_scale);
    return;
  }
#pragma omp parallel
  norm<INT32, FLOAT32>(p, residual, gamma, beta, eps, rows, width, out, q, q_scale);
}

void sentvec_activate(int which, int in, const void* data, const float* row_scale, const float* column_scale,
                      const float* bias, int64_t rows, int64_t width, void* out, float* scale) {
  Product p{in, data, row_scale, column_scale, bias};
#define PICK(A)                                                                        \
  if (which == A) {                                                                    \
    if (in == FLOAT32) return act<A, FLOAT32, FLOAT32>(p, rows, width, out, scale);    \
    if (in == BFLOAT16) return act<A, BFLOAT16, BFLOAT16>(p, rows, width, out, scale); \
    return act<A, INT32, INT8>(p, rows, width, out, scale);                            \
  }
#pragma omp parallel
  [&] { PICK(GELU) PICK(GELU_TANH) PICK(RELU) }();
#undef PICK
}

void sentvec_quantise(const float* x, int64_t rows, int64_t width, int8_t* q, float* scale) {
#pragma omp parallel
  {
    std::vector<float> scratch(width);
#pragma omp for schedule(static)
    for (int64_t t = 0; t < rows; t++) {
      std::copy_n(x + t * width, width, scratch.data());
      scale[t] = quantise_row<0>(scratch.data(), width, q + t * width);
    }
  }
}
}
