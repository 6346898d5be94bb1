// Sums in a fixed order, so that results repeat to the bit.
#include "common.cuh"

// out[i] = (ADDS: out[i] +) sum over r of partial[r, i], r < rows, i < n, rows `stride` apart. Blocks of 32 columns by 8 rows.
template <bool ADDS> __device__ void sum_rows(float *out, const float *partial, int rows, int n, int stride) {
    __shared__ float sums[8][33];
    int i = blockIdx.x * 32 + threadIdx.x;
    float sum = 0.f;
    if (i < n)
        for (int r = threadIdx.y; r < rows; r += 8) sum += partial[int64_t(r) * stride + i];
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && i < n) {
#pragma unroll
        for (int k = 1; k < 8; k++) sum += sums[k][threadIdx.x];
        out[i] = ADDS ? out[i] + sum : sum;
    }
}
extern "C" __global__ void add_rows(float *out, const float *partial, int rows, int n, int stride) {
    sum_rows<true>(out, partial, rows, n, stride);
}
extern "C" __global__ void write_rows(float *out, const float *partial, int rows, int n, int stride) {
    sum_rows<false>(out, partial, rows, n, stride);
}

// partial[s, i] = sum of column i over the s-th share of the rows of x[m, n]. Blocks of 32 (times N columns) by 8 rows.
template <typename T, int N> __device__ void column_sums(float *partial, const T *x, int m, int n) {
    __shared__ float sums[8][32][N];
    int i = (blockIdx.x * 32 + threadIdx.x) * N;
    int share = (m + gridDim.y - 1) / gridDim.y;
    int to = min(m, (int(blockIdx.y) + 1) * share);
    float sum[N] = {};
    if (i < n)
        for (int r = blockIdx.y * share + threadIdx.y; r < to; r += 8) {
            float v[N];
            load<N>(v, x + int64_t(r) * n + i);
#pragma unroll
            for (int k = 0; k < N; k++) sum[k] += v[k];
        }
#pragma unroll
    for (int k = 0; k < N; k++) sums[threadIdx.y][threadIdx.x][k] = sum[k];
    __syncthreads();
    if (threadIdx.y == 0 && i < n) {
        for (int r = 1; r < 8; r++)
#pragma unroll
            for (int k = 0; k < N; k++) sum[k] += sums[r][threadIdx.x][k];
        store<N>(partial + int64_t(blockIdx.y) * n + i, sum);
    }
}
extern "C" __global__ void column_sums_f32_4(float *p, const float *x, int m, int n) { column_sums<float, 4>(p, x, m, n); }
extern "C" __global__ void column_sums_f32_1(float *p, const float *x, int m, int n) { column_sums<float, 1>(p, x, m, n); }
extern "C" __global__ void column_sums_bf16_4(float *p, const bf16 *x, int m, int n) { column_sums<bf16, 4>(p, x, m, n); }
extern "C" __global__ void column_sums_bf16_1(float *p, const bf16 *x, int m, int n) { column_sums<bf16, 1>(p, x, m, n); }

__device__ double block_sum_f64(double x) {
    __shared__ double room[32];
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    for (int o = WARP / 2; o > 0; o >>= 1) x += __shfl_xor_sync(ALL, x, o);
    if (lane == 0) room[warp] = x;
    __syncthreads();
    x = lane < warps ? room[lane] : 0.0;
    for (int o = WARP / 2; o > 0; o >>= 1) x += __shfl_xor_sync(ALL, x, o);
    return x;
}

// partial[block] = sum of squares (or of values) of the block's elements, in f64.
template <bool SQUARES> __device__ void sums_f64(double *partial, const float *x, int64_t n) {
    double sum = 0.0;
    int64_t stride = int64_t(gridDim.x) * blockDim.x;
    for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += stride) {
        double v = x[i];
        sum += SQUARES ? v * v : v;
    }
    sum = block_sum_f64(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}
extern "C" __global__ void sum_of_squares(double *p, const float *x, int64_t n) { sums_f64<true>(p, x, n); }
extern "C" __global__ void sum(double *p, const float *x, int64_t n) { sums_f64<false>(p, x, n); }
// One block: out = the sum of `n` partial sums, or out += it.
extern "C" __global__ void total(double *out, const double *partial, int n, int adds) {
    double sum = 0.0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) sum += partial[i];
    sum = block_sum_f64(sum);
    if (threadIdx.x == 0) *out = adds ? *out + sum : sum;
}
