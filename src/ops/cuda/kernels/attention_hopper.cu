// Causal attention on Hopper GPUs (compute capability 9.0): the algorithm of attention.cu, padding included, with the
// instructions that four warps issue together (wgmma m64n64k16), whose operands lie in shared memory. A block has one such group of
// 64 rows; several blocks on a multiprocessor, and in the forward pass the product with V of the block before, fill the time that
// exponentials take (Shah et al., "FlashAttention-3", arXiv 2407.08608).
#include "attention.cuh"

constexpr int THREADS = 4 * WARP, ROWS = 64, PANEL = ROWS * 128;

// ---- tiles: 64 rows of 64 channels, 128 bytes, in the 128-byte swizzle; further channels in further panels

__device__ __forceinline__ uint32_t spot(uint32_t panel, int row, int piece) {
    return panel + row * 128 + ((piece ^ (row & 7)) << 4);
}
// Begins to copy rows [first, first + 64) of a matrix to shared memory; rows from `rows` on become zeros.
template <int D, bool PADDED>
__device__ __forceinline__ void fetch(uint32_t tile, const bf16 *from, int64_t stride, int first, int rows, Padding padding) {
    constexpr int PIECES = D / 8, STEP = THREADS / PIECES;
    static_assert(ROWS % STEP == 0 && STEP % 8 == 0, "whole turns, and the same permutation in each");
    int row = threadIdx.x / PIECES, piece = threadIdx.x % PIECES;
    const bf16 *src = from + int64_t(first + row) * stride + piece * 8;
    uint32_t to = spot(tile + piece / 8 * PANEL, row, piece % 8);
#pragma unroll
    for (int turn = 0; turn < ROWS / STEP; turn++) {
        copy_piece<PADDED>(to + turn * STEP * 128, src, first + row + turn * STEP < rows, piece, padding);
        src += STEP * stride;
    }
}
// What was copied is there, and wgmma sees it.
__device__ __forceinline__ void arrived() {
    wait<0>();
    products_see_copies();
    __syncthreads();
}

// ---- products

// The matrix descriptor of a place in a tile (PTX ISA): 128-byte swizzle, 1024 bytes from eight rows to the next eight.
__device__ __forceinline__ uint64_t descriptor(uint32_t place) {
    return uint64_t((place & 0x3ffff) >> 4) | uint64_t(1) << 16 | uint64_t(1024 >> 4) << 32 | uint64_t(1) << 62;
}

// c = A times the transpose of B, both tiles of 64 rows: scores.
template <int D> __device__ __forceinline__ void scores(float (&c)[8][4], uint32_t a, uint32_t b) {
#pragma unroll
    for (int k = 0; k < D / 16; k++) {
        uint32_t step = k / 4 * PANEL + k % 4 * 32;
        wgmma<0>(c, descriptor(a + step), descriptor(b + step), k > 0);
    }
}
// c[panel] += A times the tile's 64 rows: sums of rows.
template <int D>
__device__ __forceinline__ void sums(float (&c)[D / 64][8][4], const uint32_t (&a)[4][4], uint32_t tile) {
#pragma unroll
    for (int k = 0; k < 4; k++)
#pragma unroll
        for (int p = 0; p < D / 64; p++) wgmma<1>(c[p], a[k], descriptor(tile + p * PANEL + k * 2048), 1);
}

// ---- forward

// 64 queries. The product with the values of one block runs while the next block's scores become probabilities.
template <int D, bool PADDED>
__device__ __forceinline__ void forward(bf16 *out, float *lse, const bf16 *qkv, Shape s, Padding padding) {
    const int d = PADDED ? padding.d : D;
    constexpr int TILE = ROWS * D * 2;
    extern __shared__ __align__(1024) char memory[];
    int head = blockIdx.y, batch = blockIdx.z;
    // The longest walks begin first.
    int first = (gridDim.x - 1 - blockIdx.x) * ROWS;
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    int64_t stride = int64_t(s.n_head + 2 * s.n_kv_head) * d;
    int group = head / (s.n_head / s.n_kv_head);
    const bf16 *base = qkv + int64_t(batch) * s.time * stride;
    const bf16 *queries = base + head * d;
    const bf16 *keys = base + (s.n_head + group) * d, *values = keys + s.n_kv_head * d;
    uint32_t q_tile = shared_address(memory), k_tile = q_tile + TILE, v_tile = k_tile + 2 * TILE;
    fetch<D, PADDED>(q_tile, queries, stride, first, s.time, padding);
    fetch<D, PADDED>(k_tile, keys, stride, 0, s.time, padding);
    commit();
    float o[D / 64][8][4], top[2] = {-INFINITY, -INFINITY}, sum[2] = {0.f, 0.f};
#pragma unroll
    for (int p = 0; p < D / 64; p++) clear(o[p]);
    uint32_t probabilities[4][4];
    float factor = s.scale * LOG2E;
    int row0 = first + warp * 16, row = row0 + lane / 4;
    int blocks = (min(first + ROWS, s.time) + ROWS - 1) / ROWS;
    for (int j = 0; j < blocks; j++) {
        arrived();
        int now = (j & 1) * TILE, other = TILE - now;
        if (j + 1 < blocks) fetch<D, PADDED>(k_tile + other, keys, stride, (j + 1) * ROWS, s.time, padding);
        fetch<D, PADDED>(v_tile + now, values, stride, j * ROWS, s.time, padding);
        commit();
        int from = j * ROWS;
        float c[8][4];
        products_begin();
        scores<D>(c, q_tile, k_tile + now);
        products_queued();
        if (j > 0) {
            products_begin();
            sums<D>(o, probabilities, v_tile + other);
            products_queued();
            products_done<1>();
        } else {
            products_done<0>();
        }
        pin(c);
        if (from + ROWS - 1 > row0 || from + ROWS > s.time) {
#pragma unroll
            for (int n = 0; n < 8; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    int key = from + n * 8 + 2 * (lane & 3) + (e & 1);
                    if (key > row + (e >> 1) * 8 || key >= s.time) c[n][e] = -INFINITY;
                }
        }
        float shrink[2];
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float most = top[h];
#pragma unroll
            for (int n = 0; n < 8; n++) most = fmaxf(most, fmaxf(c[n][2 * h], c[n][2 * h + 1]));
            most = fmaxf(most, __shfl_xor_sync(ALL, most, 1));
            most = fmaxf(most, __shfl_xor_sync(ALL, most, 2));
            // -inf only where a row has seen no key yet.
            float base = most == -INFINITY ? 0.f : most * factor;
            shrink[h] = exp2_of(top[h] * factor - base);
            top[h] = most;
            float total = 0.f;
#pragma unroll
            for (int n = 0; n < 8; n++)
#pragma unroll
                for (int e = 2 * h; e < 2 * h + 2; e++) {
                    c[n][e] = exp2_of(c[n][e] * factor - base);
                    total += c[n][e];
                }
            sum[h] = sum[h] * shrink[h] + total;
        }
        products_done<0>();
#pragma unroll
        for (int p = 0; p < D / 64; p++) pin(o[p]);
#pragma unroll
        for (int k = 0; k < 4; k++) as_a(probabilities[k], c, k);
#pragma unroll
        for (int p = 0; p < D / 64; p++)
#pragma unroll
            for (int n = 0; n < 8; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) o[p][n][e] *= shrink[e >> 1];
    }
    arrived();
    products_begin();
    sums<D>(o, probabilities, v_tile + ((blocks - 1) & 1) * TILE);
    products_queued();
    products_done<0>();
#pragma unroll
    for (int p = 0; p < D / 64; p++) pin(o[p]);
    int64_t width = int64_t(s.n_head) * d;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float total = sum[h];
        total += __shfl_xor_sync(ALL, total, 1);
        total += __shfl_xor_sync(ALL, total, 2);
        int at = row + h * 8;
        if (at >= s.time) continue;
        float scale = 1.f / total;
        bf16 *to = out + (int64_t(batch) * s.time + at) * width + head * d + 2 * (lane & 3);
#pragma unroll
        for (int p = 0; p < D / 64; p++)
#pragma unroll
            for (int n = 0; n < 8; n++) {
                if (PADDED && p * 64 + n * 8 + 2 * (lane & 3) >= d) continue;
                *reinterpret_cast<uint32_t *>(to + p * 64 + n * 8) =
                    pack(o[p][n][2 * h] * scale, o[p][n][2 * h + 1] * scale);
            }
        if ((lane & 3) == 0)
            lse[(int64_t(batch) * s.n_head + head) * s.time + at] = top[h] * s.scale + logf(total);
    }
}
extern "C" __global__ void __launch_bounds__(THREADS, 4)
    attention_64_hopper(bf16 *out, float *lse, const bf16 *qkv, Shape s) {
    forward<64, false>(out, lse, qkv, s, {});
}
extern "C" __global__ void __launch_bounds__(THREADS, 4)
    attention_64_padded_hopper(bf16 *out, float *lse, const bf16 *qkv, Shape s, int d, int bytes) {
    forward<64, true>(out, lse, qkv, s, {d, bytes});
}
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    attention_128_hopper(bf16 *out, float *lse, const bf16 *qkv, Shape s) {
    forward<128, false>(out, lse, qkv, s, {});
}
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    attention_128_padded_hopper(bf16 *out, float *lse, const bf16 *qkv, Shape s, int d, int bytes) {
    forward<128, true>(out, lse, qkv, s, {d, bytes});
}

// ---- backward

// dK and dV of 64 keys. Scores lie transposed: rows are keys, columns queries.
template <int D, bool PADDED>
__device__ __forceinline__ void backward_keys(bf16 *dqkv, const bf16 *dout, const bf16 *qkv, const float *lse,
                                              const float *delta, Shape s, Padding padding) {
    const int d = PADDED ? padding.d : D;
    constexpr int TILE = ROWS * D * 2;
    // Whether dV's product runs while dS is made. With 64 channels the registers for it would cost the third block on a
    // multiprocessor, or all overlap: ptxas lets products that lack registers wait for each other.
    constexpr bool AT_ONCE = D > 64;
    extern __shared__ __align__(1024) char memory[];
    __shared__ __align__(16) float2 rows[2][ROWS]; // log2-sum-exp and delta of the queries
    int group = blockIdx.y, batch = blockIdx.z, first = blockIdx.x * ROWS;
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    int heads = s.n_head / s.n_kv_head;
    int64_t stride = int64_t(s.n_head + 2 * s.n_kv_head) * d, width = int64_t(s.n_head) * d;
    const bf16 *base = qkv + int64_t(batch) * s.time * stride;
    const bf16 *keys = base + (s.n_head + group) * d, *values = keys + s.n_kv_head * d;
    uint32_t k_tile = shared_address(memory), v_tile = k_tile + TILE;
    uint32_t q_tile = v_tile + TILE, d_tile = q_tile + 2 * TILE;
    fetch<D, PADDED>(k_tile, keys, stride, first, s.time, padding);
    fetch<D, PADDED>(v_tile, values, stride, first, s.time, padding);
    int from = blockIdx.x, each = (s.time + ROWS - 1) / ROWS - from, steps = heads * each;
    auto begin = [&](int step) {
        int head = group * heads + step / each, q = (from + step % each) * ROWS, turn = step & 1;
        fetch<D, PADDED>(q_tile + turn * TILE, base + head * d, stride, q, s.time, padding);
        fetch<D, PADDED>(d_tile + turn * TILE, dout + int64_t(batch) * s.time * width + head * d, width, q, s.time, padding);
        int64_t at = (int64_t(batch) * s.n_head + head) * s.time + q;
        for (int i = threadIdx.x; i < ROWS; i += THREADS)
            rows[turn][i] = q + i < s.time ? make_float2(lse[at + i] * LOG2E, delta[at + i]) : make_float2(INFINITY, 0.f);
    };
    begin(0);
    commit();
    float dk[D / 64][8][4], dv[D / 64][8][4];
#pragma unroll
    for (int p = 0; p < D / 64; p++) clear(dk[p]), clear(dv[p]);
    float factor = s.scale * LOG2E;
    int row0 = first + warp * 16, key = row0 + lane / 4;
    for (int step = 0; step < steps; step++) {
        arrived();
        int turn = step & 1;
        if (step + 1 < steps) begin(step + 1);
        commit();
        int q0 = (from + step % each) * ROWS;
        uint32_t qt = q_tile + turn * TILE, dt = d_tile + turn * TILE;
        float p[8][4], dp[8][4];
        products_begin();
        scores<D>(p, k_tile, qt);
        products_queued();
        scores<D>(dp, v_tile, dt);
        products_queued();
        products_done<1>();
        pin(p);
        bool masked = q0 < row0 + 15;
        uint32_t a[4][4];
#pragma unroll
        for (int n = 0; n < 8; n++) {
            // Two neighbouring queries. One beyond the last has an infinite log-sum-exp: p = 0.
            float4 both = *reinterpret_cast<const float4 *>(&rows[turn][n * 8 + 2 * (lane & 3)]);
#pragma unroll
            for (int e = 0; e < 4; e++) {
                float x = exp2_of(p[n][e] * factor - (e & 1 ? both.z : both.x));
                if (masked && q0 + n * 8 + 2 * (lane & 3) + (e & 1) < key + (e >> 1) * 8) x = 0.f;
                p[n][e] = x;
            }
        }
#pragma unroll
        for (int k = 0; k < 4; k++) as_a(a[k], p, k);
        products_done<0>();
        pin(dp);
        if constexpr (AT_ONCE) {
            products_begin();
            sums<D>(dv, a, dt);
            products_queued();
        }
#pragma unroll
        for (int n = 0; n < 8; n++) {
            float4 both = *reinterpret_cast<const float4 *>(&rows[turn][n * 8 + 2 * (lane & 3)]);
#pragma unroll
            for (int e = 0; e < 4; e++) dp[n][e] = p[n][e] * (dp[n][e] - (e & 1 ? both.w : both.y));
        }
        uint32_t ds[4][4];
#pragma unroll
        for (int k = 0; k < 4; k++) as_a(ds[k], dp, k);
        products_begin();
        if constexpr (!AT_ONCE) sums<D>(dv, a, dt);
        sums<D>(dk, ds, qt);
        products_queued();
        products_done<0>();
#pragma unroll
        for (int i = 0; i < D / 64; i++) pin(dk[i]), pin(dv[i]);
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int row = key + h * 8;
        if (row >= s.time) continue;
        bf16 *to = dqkv + (int64_t(batch) * s.time + row) * stride + (s.n_head + group) * d + 2 * (lane & 3);
#pragma unroll
        for (int p = 0; p < D / 64; p++)
#pragma unroll
            for (int n = 0; n < 8; n++) {
                if (PADDED && p * 64 + n * 8 + 2 * (lane & 3) >= d) continue;
                bf16 *at = to + p * 64 + n * 8;
                *reinterpret_cast<uint32_t *>(at) = pack(dk[p][n][2 * h] * s.scale, dk[p][n][2 * h + 1] * s.scale);
                *reinterpret_cast<uint32_t *>(at + s.n_kv_head * d) = pack(dv[p][n][2 * h], dv[p][n][2 * h + 1]);
            }
    }
}
extern "C" __global__ void __launch_bounds__(THREADS, 3)
    attention_backward_keys_64_hopper(bf16 *dqkv, const bf16 *dout, const bf16 *qkv,
        const float *lse, const float *delta, Shape s) {
    backward_keys<64, false>(dqkv, dout, qkv, lse, delta, s, {});
}
extern "C" __global__ void __launch_bounds__(THREADS, 3)
    attention_backward_keys_64_padded_hopper(bf16 *dqkv, const bf16 *dout, const bf16 *qkv,
        const float *lse, const float *delta, Shape s, int d, int bytes) {
    backward_keys<64, true>(dqkv, dout, qkv, lse, delta, s, {d, bytes});
}
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    attention_backward_keys_128_hopper(bf16 *dqkv, const bf16 *dout, const bf16 *qkv,
        const float *lse, const float *delta, Shape s) {
    backward_keys<128, false>(dqkv, dout, qkv, lse, delta, s, {});
}
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    attention_backward_keys_128_padded_hopper(bf16 *dqkv, const bf16 *dout, const bf16 *qkv,
        const float *lse, const float *delta, Shape s, int d, int bytes) {
    backward_keys<128, true>(dqkv, dout, qkv, lse, delta, s, {d, bytes});
}

// dQ of 64 queries.
template <int D, bool PADDED>
__device__ __forceinline__ void backward_queries(bf16 *dqkv, const bf16 *dout, const bf16 *qkv, const float *lse,
                                                 const float *delta, Shape s, Padding padding) {
    const int d = PADDED ? padding.d : D;
    constexpr int TILE = ROWS * D * 2;
    extern __shared__ __align__(1024) char memory[];
    int head = blockIdx.y, batch = blockIdx.z, first = (gridDim.x - 1 - blockIdx.x) * ROWS;
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    int group = head / (s.n_head / s.n_kv_head);
    int64_t stride = int64_t(s.n_head + 2 * s.n_kv_head) * d, width = int64_t(s.n_head) * d;
    const bf16 *base = qkv + int64_t(batch) * s.time * stride;
    const bf16 *keys = base + (s.n_head + group) * d, *values = keys + s.n_kv_head * d;
    uint32_t q_tile = shared_address(memory), d_tile = q_tile + TILE;
    uint32_t k_tile = d_tile + TILE, v_tile = k_tile + 2 * TILE;
    fetch<D, PADDED>(q_tile, base + head * d, stride, first, s.time, padding);
    fetch<D, PADDED>(d_tile, dout + int64_t(batch) * s.time * width + head * d, width, first, s.time, padding);
    fetch<D, PADDED>(k_tile, keys, stride, 0, s.time, padding);
    fetch<D, PADDED>(v_tile, values, stride, 0, s.time, padding);
    commit();
    int row0 = first + warp * 16, row = row0 + lane / 4;
    float l[2], delta_of[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int64_t at = (int64_t(batch) * s.n_head + head) * s.time + row + h * 8;
        l[h] = row + h * 8 < s.time ? lse[at] * LOG2E : INFINITY;
        delta_of[h] = row + h * 8 < s.time ? delta[at] : 0.f;
    }
    float dq[D / 64][8][4];
#pragma unroll
    for (int p = 0; p < D / 64; p++) clear(dq[p]);
    float factor = s.scale * LOG2E;
    int blocks = (min(first + ROWS, s.time) + ROWS - 1) / ROWS;
    for (int j = 0; j < blocks; j++) {
        arrived();
        int now = (j & 1) * TILE, other = TILE - now;
        if (j + 1 < blocks) {
            fetch<D, PADDED>(k_tile + other, keys, stride, (j + 1) * ROWS, s.time, padding);
            fetch<D, PADDED>(v_tile + other, values, stride, (j + 1) * ROWS, s.time, padding);
        }
        commit();
        int from = j * ROWS;
        float p[8][4], dp[8][4];
        products_begin();
        scores<D>(p, q_tile, k_tile + now);
        products_queued();
        scores<D>(dp, d_tile, v_tile + now);
        products_queued();
        products_done<1>();
        pin(p);
        bool masked = from + ROWS - 1 > row0 || from + ROWS > s.time;
#pragma unroll
        for (int n = 0; n < 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                float x = exp2_of(p[n][e] * factor - l[e >> 1]);
                int key = from + n * 8 + 2 * (lane & 3) + (e & 1);
                if (masked && (key > row + (e >> 1) * 8 || key >= s.time)) x = 0.f;
                p[n][e] = x;
            }
        products_done<0>();
        pin(dp);
#pragma unroll
        for (int n = 0; n < 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) dp[n][e] = p[n][e] * (dp[n][e] - delta_of[e >> 1]);
        uint32_t ds[4][4];
#pragma unroll
        for (int k = 0; k < 4; k++) as_a(ds[k], dp, k);
        products_begin();
        sums<D>(dq, ds, k_tile + now);
        products_queued();
        products_done<0>();
#pragma unroll
        for (int i = 0; i < D / 64; i++) pin(dq[i]);
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int at = row + h * 8;
        if (at >= s.time) continue;
        bf16 *to = dqkv + (int64_t(batch) * s.time + at) * stride + head * d + 2 * (lane & 3);
#pragma unroll
        for (int p = 0; p < D / 64; p++)
#pragma unroll
            for (int n = 0; n < 8; n++) {
                if (PADDED && p * 64 + n * 8 + 2 * (lane & 3) >= d) continue;
                *reinterpret_cast<uint32_t *>(to + p * 64 + n * 8) =
                    pack(dq[p][n][2 * h] * s.scale, dq[p][n][2 * h + 1] * s.scale);
            }
    }
}
extern "C" __global__ void __launch_bounds__(THREADS, 3)
    attention_backward_queries_64_hopper(bf16 *dqkv, const bf16 *dout, const bf16 *qkv,
        const float *lse, const float *delta, Shape s) {
    backward_queries<64, false>(dqkv, dout, qkv, lse, delta, s, {});
}
extern "C" __global__ void __launch_bounds__(THREADS, 3)
    attention_backward_queries_64_padded_hopper(bf16 *dqkv, const bf16 *dout, const bf16 *qkv,
        const float *lse, const float *delta, Shape s, int d, int bytes) {
    backward_queries<64, true>(dqkv, dout, qkv, lse, delta, s, {d, bytes});
}
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    attention_backward_queries_128_hopper(bf16 *dqkv, const bf16 *dout, const bf16 *qkv,
        const float *lse, const float *delta, Shape s) {
    backward_queries<128, false>(dqkv, dout, qkv, lse, delta, s, {});
}
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    attention_backward_queries_128_padded_hopper(bf16 *dqkv, const bf16 *dout, const bf16 *qkv,
        const float *lse, const float *delta, Shape s, int d, int bytes) {
    backward_queries<128, true>(dqkv, dout, qkv, lse, delta, s, {d, bytes});
}
