// Token and position embeddings. An id outside the vocabulary gives NaN, which the loss then shows.
#include "common.cuh"

template <int N>
__device__ void embedding(float *out, const uint32_t *ids, const float *wte, const float *wpe, int t, int c, uint32_t v) {
    int64_t row = blockIdx.x;
    uint32_t id = ids[row];
    for (int i = threadIdx.x * N; i < c; i += blockDim.x * N) {
        float a[N], b[N] = {};
        if (id < v) {
            load<N>(a, wte + int64_t(id) * c + i);
        } else {
#pragma unroll
            for (int k = 0; k < N; k++) a[k] = __int_as_float(0x7fc00000);
        }
        if (wpe) load<N>(b, wpe + row % t * c + i);
#pragma unroll
        for (int k = 0; k < N; k++) a[k] += b[k];
        store<N>(out + row * c + i, a);
    }
}
extern "C" __global__ void embedding_f32(float *out, const uint32_t *ids, const float *wte, const float *wpe, int t, int c,
                                         uint32_t v) {
    if (c % 4 == 0 && aligned(wte, 16) && aligned(wpe, 16))
        embedding<4>(out, ids, wte, wpe, t, c, v);
    else
        embedding<1>(out, ids, wte, wpe, t, c, v);
}

// dwte[id] += dx of every row with that id, in the rows' order. A block owns OWN ids and blockDim.x columns, reads all ids,
// and adds up the rows it owns in shared memory: no atomics on floats, the same bits every time.
constexpr int OWN = 32, THREADS = 256, WARPS = THREADS / WARP, EACH = 4;
template <typename T>
__device__ void backward_tokens(float *dwte, const uint32_t *ids, const T *dx, int m, int c, int v) {
    extern __shared__ float sums[]; // [OWN, THREADS]
    __shared__ int hits[EACH * THREADS];
    __shared__ int counts[EACH * WARPS];
    uint32_t first = blockIdx.x * OWN;
    int column = blockIdx.y * THREADS + threadIdx.x;
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    for (int k = 0; k < OWN; k++) sums[k * THREADS + threadIdx.x] = 0.f;
    uint32_t touched = 0;
    for (int from = 0; from < m; from += EACH * THREADS) {
        unsigned in_warp[EACH];
        bool mine[EACH];
#pragma unroll
        for (int e = 0; e < EACH; e++) {
            int row = from + e * THREADS + threadIdx.x;
            mine[e] = row < m && ids[row] - first < OWN;
            in_warp[e] = __ballot_sync(ALL, mine[e]);
            if (lane == 0) counts[e * WARPS + warp] = __popc(in_warp[e]);
        }
        __syncthreads();
        int all = 0, before[EACH];
#pragma unroll
        for (int e = 0; e < EACH; e++) {
            before[e] = all;
            for (int w = 0; w < WARPS; w++) {
                before[e] += w < warp ? counts[e * WARPS + w] : 0;
                all += counts[e * WARPS + w];
            }
        }
        if (all == 0) {
            __syncthreads();
            continue;
        }
#pragma unroll
        for (int e = 0; e < EACH; e++)
            if (mine[e]) hits[before[e] + __popc(in_warp[e] & ((1u << lane) - 1))] = from + e * THREADS + threadIdx.x;
        __syncthreads();
        for (int h = 0; h < all; h++) {
            int row = hits[h];
            int k = int(ids[row] - first);
            touched |= 1u << k;
            if (column < c) sums[k * THREADS + threadIdx.x] += to_float(dx[int64_t(row) * c + column]);
        }
        __syncthreads();
    }
    if (column >= c) return;
    for (int k = 0; k < OWN && int(first) + k < v; k++)
        if (touched >> k & 1) dwte[int64_t(first + k) * c + column] += sums[k * THREADS + threadIdx.x];
}

extern "C" __global__ void __launch_bounds__(THREADS)
    embedding_backward_tokens_f32(float *dwte, const uint32_t *ids, const float *dx, int m, int c, int v) {
    backward_tokens(dwte, ids, dx, m, c, v);
}
extern "C" __global__ void __launch_bounds__(THREADS)
    embedding_backward_tokens_bf16(float *dwte, const uint32_t *ids, const bf16 *dx, int m, int c, int v) {
    backward_tokens(dwte, ids, dx, m, c, v);
}

// dwpe[t] += sum over b of dx[b, t].
template <typename T> __device__ void backward_positions(float *dwpe, const T *dx, int batch, int t, int c) {
    int64_t n = int64_t(t) * c;
    int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float sum = 0.f;
    for (int b = 0; b < batch; b++) sum += to_float(dx[b * n + i]);
    dwpe[i] += sum;
}
extern "C" __global__ void embedding_backward_positions_f32(float *dwpe, const float *dx, int batch, int t, int c) {
    backward_positions(dwpe, dx, batch, t, c);
}
extern "C" __global__ void embedding_backward_positions_bf16(float *dwpe, const bf16 *dx, int batch, int t, int c) {
    backward_positions(dwpe, dx, batch, t, c);
}
