// Muon's element-wise kernels. A block is `columns` columns, from `first` on, of a larger matrix of `stride` columns.
#include "common.cuh"

// The first element of this thread and the distance to its next one.
#define EACH(i, n)                                                                                                     \
    int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;                                                        \
    i < n;                                                                                                             \
    i += int64_t(gridDim.x) * blockDim.x

// Where element i of a block lies in the larger matrix.
__device__ __forceinline__ int64_t place(int64_t i, int columns, int first, int stride) {
    int64_t row = i / columns;
    return row * stride + first + (i - row * columns);
}

extern "C" __global__ void muon_momentum(float *x, float *m, const float *g, int64_t n, int columns, int first,
                                         int stride, float momentum, float grad_scale) {
    for (EACH(i, n)) {
        int64_t at = place(i, columns, first, stride);
        float grad = g[at] * grad_scale;
        float now = m[at] + (1.f - momentum) * (grad - m[at]);
        m[at] = now;
        x[i] = now + (1.f - momentum) * (grad - now);
    }
}

extern "C" __global__ void muon_weights(float *p, bf16 *rounded, const float *x, int64_t n, int columns, int first,
                                        int stride, float keep, float lr) {
    for (EACH(i, n)) {
        int64_t at = place(i, columns, first, stride);
        float now = p[at] * keep - lr * x[i];
        p[at] = now;
        if (rounded) rounded[at] = __float2bfloat16_rn(now);
    }
}

// x / max(norm, eps), where the norm is the root of *squares.
extern "C" __global__ void to_unit_norm(float *x, const double *squares, int64_t n, float eps) {
    float norm = fmaxf(float(sqrt(*squares)), eps);
    for (EACH(i, n)) x[i] /= norm;
}

// out = a out + b x.
extern "C" __global__ void blend(float *out, const float *x, int64_t n, float a, float b) {
    for (EACH(i, n)) out[i] = a * out[i] + b * x[i];
}
