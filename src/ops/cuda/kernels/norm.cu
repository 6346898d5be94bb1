// LayerNorm and RMSNorm of the f32 residual stream: rows of c, statistics in f32.
#include "common.cuh"

// A warp per row.
template <typename T, int N, bool RMS>
__device__ void norm(T *out, float *stats, const float *x, const float *w, const float *b, int m, int c, float eps) {
    int row = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP, lane = threadIdx.x % WARP;
    if (row >= m) return;
    x += int64_t(row) * c, out += int64_t(row) * c;
    float mean = 0.f;
    if constexpr (!RMS) {
        for (int i = lane * N; i < c; i += WARP * N) {
            float v[N];
            load<N>(v, x + i);
#pragma unroll
            for (int k = 0; k < N; k++) mean += v[k];
        }
        mean = warp_sum(mean) / c;
    }
    float squares = 0.f;
    for (int i = lane * N; i < c; i += WARP * N) {
        float v[N];
        load<N>(v, x + i);
#pragma unroll
        for (int k = 0; k < N; k++) squares += (v[k] - mean) * (v[k] - mean);
    }
    float r = 1.f / sqrtf(warp_sum(squares) / c + eps);
    if (lane == 0) {
        if constexpr (!RMS) stats[row] = mean;
        stats[m + row] = r;
    }
    for (int i = lane * N; i < c; i += WARP * N) {
        float v[N], s[N], t[N] = {};
        load<N>(v, x + i);
        load<N>(s, w + i);
        if (b) load<N>(t, b + i);
#pragma unroll
        for (int k = 0; k < N; k++) v[k] = (v[k] - mean) * r * s[k] + t[k];
        store<N>(out + i, v);
    }
}

#define NORM(NAME, T, RMS)                                                                                             \
    extern "C" __global__ void NAME(T *out, float *stats, const float *x, const float *w, const float *b, int m, int c, \
                                    float eps) {                                                                       \
        if (c % 4 == 0 && aligned(w, 16) && aligned(b, 16))                                                            \
            norm<T, 4, RMS>(out, stats, x, w, b, m, c, eps);                                                           \
        else                                                                                                           \
            norm<T, 1, RMS>(out, stats, x, w, b, m, c, eps);                                                           \
    }
NORM(layer_norm_f32, float, false)
NORM(layer_norm_bf16, bf16, false)
NORM(rms_norm_f32, float, true)
NORM(rms_norm_bf16, bf16, true)

// dx += ..., and each block's sums over its rows: partial[block, 2, c] (weight's gradient, bias's gradient).
// A block takes rows in turn; a thread keeps its columns: V groups of N, blockDim.x N columns apart.
// `rounded`, if there, gets dx in bf16. G is the type of dx.
template <typename T, typename G, int N, int V, bool RMS>
__device__ void norm_backward(G *dx, bf16 *rounded, float *partial, const T *dy, const float *x, const float *w,
                              const float *stats, int m, int c) {
    __shared__ float room[2][2][32];
    float dw[V][N] = {}, db[V][N] = {};
    int turn = 0;
    for (int row = blockIdx.x; row < m; row += gridDim.x, turn ^= 1) {
        int64_t at = int64_t(row) * c;
        float mean = RMS ? 0.f : stats[row], r = stats[m + row];
        float g[V][N], h[V][N], sum_g = 0.f, sum_gh = 0.f;
#pragma unroll
        for (int j = 0; j < V; j++) {
            int i = (j * blockDim.x + threadIdx.x) * N;
            if (i >= c) continue;
            float s[N];
            load<N>(g[j], dy + at + i);
            load<N>(h[j], x + at + i);
            load<N>(s, w + i);
#pragma unroll
            for (int k = 0; k < N; k++) {
                h[j][k] = (h[j][k] - mean) * r;
                dw[j][k] += g[j][k] * h[j][k];
                db[j][k] += g[j][k];
                g[j][k] *= s[k];
                sum_g += g[j][k];
                sum_gh += g[j][k] * h[j][k];
            }
        }
        if constexpr (!RMS) sum_g = block_sum(sum_g, room[turn][0]) / c;
        sum_gh = block_sum(sum_gh, room[turn][1]) / c;
#pragma unroll
        for (int j = 0; j < V; j++) {
            int i = (j * blockDim.x + threadIdx.x) * N;
            if (i >= c) continue;
            float d[N];
            load<N>(d, dx + at + i);
#pragma unroll
            for (int k = 0; k < N; k++) d[k] += r * (g[j][k] - (RMS ? 0.f : sum_g) - h[j][k] * sum_gh);
            store<N>(dx + at + i, d);
            if (rounded) store<N>(rounded + at + i, d);
        }
    }
    partial += int64_t(blockIdx.x) * 2 * c;
#pragma unroll
    for (int j = 0; j < V; j++) {
        int i = (j * blockDim.x + threadIdx.x) * N;
        if (i >= c) continue;
        store<N>(partial + i, dw[j]);
        store<N>(partial + c + i, db[j]);
    }
}

#define NORM_BACKWARD(NAME, T, N, V, RMS)                                                                              \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        NAME(float *dx, bf16 *rounded, float *partial, const T *dy, const float *x, const float *w, const float *stats, \
             int m, int c) {                                                                                           \
        norm_backward<T, float, N, V, RMS>(dx, rounded, partial, dy, x, w, stats, m, c);                               \
    }
#define NORM_BACKWARDS(NAME, T, RMS)                                                                                   \
    NORM_BACKWARD(NAME##_4x1, T, 4, 1, RMS)                                                                            \
    NORM_BACKWARD(NAME##_4x2, T, 4, 2, RMS)                                                                            \
    NORM_BACKWARD(NAME##_4x4, T, 4, 4, RMS)                                                                            \
    NORM_BACKWARD(NAME##_4x8, T, 4, 8, RMS)                                                                            \
    NORM_BACKWARD(NAME##_1x32, T, 1, 32, RMS)
NORM_BACKWARDS(layer_norm_backward_f32, float, false)
NORM_BACKWARDS(layer_norm_backward_bf16, bf16, false)
NORM_BACKWARDS(rms_norm_backward_f32, float, true)
NORM_BACKWARDS(rms_norm_backward_bf16, bf16, true)

// The same onto a gradient of the residual stream that is kept in bf16; `rounded` is null.
#define NORM_BACKWARD_HALF(NAME, N, V, RMS)                                                                            \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        NAME(bf16 *dx, bf16 *rounded, float *partial, const bf16 *dy, const float *x, const float *w,                  \
             const float *stats, int m, int c) {                                                                       \
        norm_backward<bf16, bf16, N, V, RMS>(dx, nullptr, partial, dy, x, w, stats, m, c);                             \
    }
#define NORM_BACKWARDS_HALF(NAME, RMS)                                                                                 \
    NORM_BACKWARD_HALF(NAME##_4x1, 4, 1, RMS)                                                                          \
    NORM_BACKWARD_HALF(NAME##_4x2, 4, 2, RMS)                                                                          \
    NORM_BACKWARD_HALF(NAME##_4x4, 4, 4, RMS)                                                                          \
    NORM_BACKWARD_HALF(NAME##_4x8, 4, 8, RMS)                                                                          \
    NORM_BACKWARD_HALF(NAME##_1x32, 1, 32, RMS)
NORM_BACKWARDS_HALF(layer_norm_backward_half, false)
NORM_BACKWARDS_HALF(rms_norm_backward_half, true)
