// Causal attention for any head size up to 256 and both types, a warp per row: the yardstick of the tensor-core kernels, what
// f32 runs use, and the attention matrices that ranks are taken of.
#include "attention.cuh"

constexpr int MOST = 8; // channels of a lane: heads of up to 256

struct Place {
    int64_t stride;  // of qkv's rows
    int batch, head, group, row;
    bool there;
};
// The warp's row of `heads` heads, in the order [batch, head, row].
__device__ __forceinline__ Place place(const Shape &s, int d, int batches, int heads) {
    int64_t i = int64_t(blockIdx.x) * (blockDim.x / WARP) + threadIdx.x / WARP;
    Place p;
    p.there = i < int64_t(batches) * heads * s.time;
    p.row = int(i % s.time);
    p.head = int(i / s.time % heads);
    p.batch = int(i / s.time / heads);
    p.group = p.head / (heads / s.n_kv_head);
    p.stride = int64_t(s.n_head + 2 * s.n_kv_head) * d;
    return p;
}
template <typename T> __device__ __forceinline__ void take(float (&v)[MOST], const T *p, int d, int lane) {
#pragma unroll
    for (int k = 0; k < MOST; k++) v[k] = k * WARP + lane < d ? to_float(p[k * WARP + lane]) : 0.f;
}
template <typename T> __device__ __forceinline__ void put(T *p, const float (&v)[MOST], float scale, int d, int lane) {
#pragma unroll
    for (int k = 0; k < MOST; k++)
        if (k * WARP + lane < d) p[k * WARP + lane] = from_float<T>(v[k] * scale);
}
__device__ __forceinline__ float dot(const float (&a)[MOST], const float (&b)[MOST]) {
    float sum = 0.f;
#pragma unroll
    for (int k = 0; k < MOST; k++) sum += a[k] * b[k];
    return warp_sum(sum);
}

template <typename T> __device__ void forward(T *out, float *lse, const T *qkv, Shape s, int batches, int d) {
    Place p = place(s, d, batches, s.n_head);
    int lane = threadIdx.x % WARP;
    if (!p.there) return;
    const T *base = qkv + int64_t(p.batch) * s.time * p.stride, *keys = base + (s.n_head + p.group) * d;
    float q[MOST], x[MOST], o[MOST] = {};
    take(q, base + p.row * p.stride + p.head * d, d, lane);
    float top = -INFINITY, sum = 0.f;
    for (int j = 0; j <= p.row; j++) {
        take(x, keys + j * p.stride, d, lane);
        float score = dot(q, x) * s.scale, most = fmaxf(top, score);
        float shrink = __expf(top - most), w = __expf(score - most);
        top = most;
        sum = sum * shrink + w;
        take(x, keys + j * p.stride + s.n_kv_head * d, d, lane);
#pragma unroll
        for (int k = 0; k < MOST; k++) o[k] = o[k] * shrink + w * x[k];
    }
    put(out + (int64_t(p.batch) * s.time + p.row) * s.n_head * d + p.head * d, o, 1.f / sum, d, lane);
    if (lane == 0) lse[(int64_t(p.batch) * s.n_head + p.head) * s.time + p.row] = top + logf(sum);
}

template <typename T>
__device__ void backward_queries(T *dqkv, const T *dout, const T *qkv, const float *lse, const float *delta, Shape s, int batches, int d) {
    Place p = place(s, d, batches, s.n_head);
    int lane = threadIdx.x % WARP;
    if (!p.there) return;
    int64_t row = int64_t(p.batch) * s.time + p.row, at = (int64_t(p.batch) * s.n_head + p.head) * s.time + p.row;
    const T *base = qkv + int64_t(p.batch) * s.time * p.stride, *keys = base + (s.n_head + p.group) * d;
    float q[MOST], g[MOST], k_row[MOST], v_row[MOST], dq[MOST] = {};
    take(q, base + p.row * p.stride + p.head * d, d, lane);
    take(g, dout + row * s.n_head * d + p.head * d, d, lane);
    for (int j = 0; j <= p.row; j++) {
        take(k_row, keys + j * p.stride, d, lane);
        take(v_row, keys + j * p.stride + s.n_kv_head * d, d, lane);
        float w = __expf(dot(q, k_row) * s.scale - lse[at]);
        float ds = w * (dot(g, v_row) - delta[at]);
#pragma unroll
        for (int k = 0; k < MOST; k++) dq[k] += ds * k_row[k];
    }
    put(dqkv + row * p.stride + p.head * d, dq, s.scale, d, lane);
}

template <typename T>
__device__ void backward_keys(T *dqkv, const T *dout, const T *qkv, const float *lse, const float *delta, Shape s, int batches, int d) {
    Place p = place(s, d, batches, s.n_kv_head);
    int lane = threadIdx.x % WARP, heads = s.n_head / s.n_kv_head;
    if (!p.there) return;
    int group = p.head;
    const T *base = qkv + int64_t(p.batch) * s.time * p.stride, *keys = base + (s.n_head + group) * d + p.row * p.stride;
    float k_row[MOST], v_row[MOST], q[MOST], g[MOST], dk[MOST] = {}, dv[MOST] = {};
    take(k_row, keys, d, lane);
    take(v_row, keys + s.n_kv_head * d, d, lane);
    for (int head = group * heads; head < (group + 1) * heads; head++)
        for (int i = p.row; i < s.time; i++) {
            int64_t row = int64_t(p.batch) * s.time + i, at = (int64_t(p.batch) * s.n_head + head) * s.time + i;
            take(q, base + i * p.stride + head * d, d, lane);
            take(g, dout + row * s.n_head * d + head * d, d, lane);
            float w = __expf(dot(q, k_row) * s.scale - lse[at]);
            float ds = w * (dot(g, v_row) - delta[at]);
#pragma unroll
            for (int k = 0; k < MOST; k++) dk[k] += ds * q[k], dv[k] += w * g[k];
        }
    T *to = dqkv + (int64_t(p.batch) * s.time + p.row) * p.stride + (s.n_head + group) * d;
    put(to, dk, s.scale, d, lane);
    put(to + s.n_kv_head * d, dv, 1.f, d, lane);
}

// delta[b, h, t] = sum over channels of dout out. A warp per row and head.
template <typename T>
__device__ void products(float *delta, const T *dout, const T *out, int rows, int time, int n_head, int d) {
    int64_t i = int64_t(blockIdx.x) * (blockDim.x / WARP) + threadIdx.x / WARP;
    int lane = threadIdx.x % WARP;
    if (i >= int64_t(rows) * n_head) return;
    int64_t row = i / n_head;
    int head = int(i % n_head);
    dout += i * d, out += i * d;
    float sum = 0.f;
    for (int k = lane; k < d; k += WARP) sum += to_float(dout[k]) * to_float(out[k]);
    sum = warp_sum(sum);
    if (lane == 0) delta[(row / time * n_head + head) * time + row % time] = sum;
}

// probs[b, h, i, j]: the attention matrices. A block per row; scores in shared memory.
template <typename T> __device__ void matrices(float *probs, const T *qkv, Shape s, int d) {
    extern __shared__ float scores[]; // [time + d]
    __shared__ float room[2][32];
    float *q = scores + s.time;
    int i = blockIdx.x, head = blockIdx.y, batch = blockIdx.z;
    int64_t stride = int64_t(s.n_head + 2 * s.n_kv_head) * d;
    const T *base = qkv + int64_t(batch) * s.time * stride;
    const T *keys = base + (s.n_head + head / (s.n_head / s.n_kv_head)) * d;
    for (int k = threadIdx.x; k < d; k += blockDim.x) q[k] = to_float(base[i * stride + head * d + k]);
    __syncthreads();
    float top = -INFINITY;
    for (int j = threadIdx.x; j <= i; j += blockDim.x) {
        float sum = 0.f;
        for (int k = 0; k < d; k++) sum += q[k] * to_float(keys[j * stride + k]);
        scores[j] = sum * s.scale;
        top = fmaxf(top, scores[j]);
    }
    top = warp_max(top);
    if (threadIdx.x % WARP == 0) room[1][threadIdx.x / WARP] = top;
    __syncthreads();
    top = warp_max(threadIdx.x % WARP < blockDim.x / WARP ? room[1][threadIdx.x % WARP] : -INFINITY);
    float sum = 0.f;
    for (int j = threadIdx.x; j <= i; j += blockDim.x) {
        scores[j] = expf(scores[j] - top);
        sum += scores[j];
    }
    sum = block_sum(sum, room[0]);
    float *row = probs + ((int64_t(batch) * s.n_head + head) * s.time + i) * s.time;
    for (int j = threadIdx.x; j < s.time; j += blockDim.x) row[j] = j <= i ? scores[j] / sum : 0.f;
}

#define PLAIN(T, NAME)                                                                                                 \
    extern "C" __global__ void attention_plain_##NAME(T *out, float *lse, const T *qkv, Shape s, int batches, int d) { \
        forward(out, lse, qkv, s, batches, d);                                                                         \
    }                                                                                                                  \
    extern "C" __global__ void attention_plain_backward_queries_##NAME(                                                \
        T *dqkv, const T *dout, const T *qkv, const float *lse, const float *delta, Shape s, int batches, int d) {     \
        backward_queries(dqkv, dout, qkv, lse, delta, s, batches, d);                                                  \
    }                                                                                                                  \
    extern "C" __global__ void attention_plain_backward_keys_##NAME(                                                   \
        T *dqkv, const T *dout, const T *qkv, const float *lse, const float *delta, Shape s, int batches, int d) {     \
        backward_keys(dqkv, dout, qkv, lse, delta, s, batches, d);                                                     \
    }                                                                                                                  \
    extern "C" __global__ void attention_plain_delta_##NAME(float *delta, const T *dout, const T *out, int rows, int time, \
                                                            int n_head, int d) {                                       \
        products(delta, dout, out, rows, time, n_head, d);                                                             \
    }                                                                                                                  \
    extern "C" __global__ void attention_matrices_##NAME(float *probs, const T *qkv, Shape s, int d) {                 \
        matrices(probs, qkv, s, d);                                                                                    \
    }
PLAIN(float, f32)
PLAIN(bf16, bf16)
