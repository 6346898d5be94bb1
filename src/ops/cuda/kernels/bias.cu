// A bias onto rows, where the product before could not add it.
#include "common.cuh"

// out[i] += bias[i % columns], for n elements in rows of `columns`.
template <typename T> __device__ void add_bias(T *out, const T *bias, int64_t n, int columns) {
    int64_t stride = int64_t(gridDim.x) * blockDim.x;
    for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += stride)
        out[i] = from_float<T>(to_float(out[i]) + to_float(bias[i % columns]));
}
extern "C" __global__ void add_bias_f32(float *out, const float *bias, int64_t n, int columns) {
    add_bias(out, bias, n, columns);
}
extern "C" __global__ void add_bias_bf16(bf16 *out, const bf16 *bias, int64_t n, int columns) {
    add_bias(out, bias, n, columns);
}
