// Causal attention on tensor cores in bf16, for heads of 64 and 128 channels and, padded with zeros in shared memory, of any even
// number of fewer; any T, any number of query heads for a key head.
//
// Forward: a block holds BR queries and walks over keys and values in blocks of BC, keeping the running maximum and sum of
// each row (Dao et al., "FlashAttention-2", arXiv 2307.08691). Backward: one kernel holds keys and values and walks over the
// queries (dK, dV), another holds queries and walks over the keys (dQ). Scores are made twice, and no sum depends on the order
// in which blocks happen to run.
//
// All products are m16n8k16: A 16 x 16, B 16 x 8, C in f32. Hopper GPUs have kernels of their own.
#include "attention.cuh"

// ---- shared memory: rows of D elements in pieces of 16 bytes, permuted so that eight rows' pieces lie in different banks

template <int D> __device__ __forceinline__ uint32_t at(uint32_t tile, int row, int piece) {
    return tile + row * (D * 2) + ((piece ^ (row & 7)) << 4);
}

// Begins to copy rows [first, first + ROWS) of a matrix to shared memory; rows from `rows` on become zeros. A thread copies the
// same 16 bytes of every STEP-th row, so that only its address changes.
template <int D, int ROWS, int THREADS, bool PADDED>
__device__ __forceinline__ void fetch(uint32_t tile, const bf16 *from, int64_t stride, int first, int rows, Padding padding) {
    constexpr int PIECES = D / 8, STEP = THREADS / PIECES;
    static_assert(ROWS % STEP == 0 && STEP % 8 == 0, "whole turns, and the same permutation in each");
    int row = threadIdx.x / PIECES, piece = threadIdx.x % PIECES;
    const bf16 *src = from + int64_t(first + row) * stride + piece * 8;
    uint32_t to = at<D>(tile, row, piece);
#pragma unroll
    for (int turn = 0; turn < ROWS / STEP; turn++) {
        copy_piece<PADDED>(to + turn * STEP * D * 2, src, first + row + turn * STEP < rows, piece, padding);
        src += STEP * stride;
    }
}

// The A operand of rows [row, row + 16) and channels [16 k, 16 k + 16) of a tile.
template <int D> __device__ __forceinline__ void load_a(uint32_t (&a)[4], uint32_t tile, int row, int k, int lane) {
    load_matrices(a, at<D>(tile, row + (lane & 15), 2 * k + (lane >> 4)));
}

// c[N tiles] += A times the transpose of the tile's first 8 N rows: scores. One step of 16 channels.
template <int D, int N>
__device__ __forceinline__ void times_rows(float (&c)[N][4], const uint32_t (&a)[4], uint32_t tile, int k, int lane) {
#pragma unroll
    for (int n = 0; n < N; n += 2) {
        uint32_t b[4];
        load_matrices(b, at<D>(tile, n * 8 + (lane & 7) + ((lane >> 4) << 3), 2 * k + ((lane >> 3) & 1)));
        multiply(c[n], a, b[0], b[1]);
        multiply(c[n + 1], a, b[2], b[3]);
    }
}
// c[D / 8 tiles] += A times rows [16 k, 16 k + 16) of the tile: sums of rows. One step of 16 rows.
template <int D>
__device__ __forceinline__ void times_columns(float (&c)[D / 8][4], const uint32_t (&a)[4], uint32_t tile, int k, int lane) {
#pragma unroll
    for (int n = 0; n < D / 8; n += 2) {
        uint32_t b[4];
        load_matrices_turned(b, at<D>(tile, k * 16 + (lane & 15), n + (lane >> 4)));
        multiply(c[n], a, b[0], b[1]);
        multiply(c[n + 1], a, b[2], b[3]);
    }
}

// ---- forward

// 16 WARPS queries.
template <int D, int WARPS, bool PADDED>
__device__ __forceinline__ void forward(bf16 *out, float *lse, const bf16 *qkv, Shape s, Padding padding) {
    const int d = PADDED ? padding.d : D;
    constexpr int BR = 16 * WARPS, BC = 64, THREADS = WARPS * WARP, TILE = BC * D * 2;
    extern __shared__ __align__(128) char memory[];
    int head = blockIdx.y, batch = blockIdx.z;
    // The longest walks begin first.
    int first = (gridDim.x - 1 - blockIdx.x) * BR;
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    int64_t stride = int64_t(s.n_head + 2 * s.n_kv_head) * d;
    int group = head / (s.n_head / s.n_kv_head);
    const bf16 *base = qkv + int64_t(batch) * s.time * stride;
    const bf16 *queries = base + head * d;
    const bf16 *keys = base + (s.n_head + group) * d, *values = keys + s.n_kv_head * d;
    uint32_t q_tile = shared_address(memory), k_tile = q_tile + BR * D * 2, v_tile = k_tile + 2 * TILE;

    fetch<D, BR, THREADS, PADDED>(q_tile, queries, stride, first, s.time, padding);
    fetch<D, BC, THREADS, PADDED>(k_tile, keys, stride, 0, s.time, padding);
    fetch<D, BC, THREADS, PADDED>(v_tile, values, stride, 0, s.time, padding);
    commit();

    float o[D / 8][4], top[2] = {-INFINITY, -INFINITY}, sum[2] = {0.f, 0.f};
    clear(o);
    float factor = s.scale * LOG2E;
    int row0 = first + warp * 16, row = row0 + lane / 4;
    int blocks = (min(first + BR, s.time) + BC - 1) / BC;
    for (int j = 0; j < blocks; j++) {
        wait<0>();
        __syncthreads();
        uint32_t kt = k_tile + (j & 1) * TILE, vt = v_tile + (j & 1) * TILE;
        if (j + 1 < blocks) {
            int other = ((j + 1) & 1) * TILE;
            fetch<D, BC, THREADS, PADDED>(k_tile + other, keys, stride, (j + 1) * BC, s.time, padding);
            fetch<D, BC, THREADS, PADDED>(v_tile + other, values, stride, (j + 1) * BC, s.time, padding);
        }
        commit();
        int from = j * BC;
        if (from > row0 + 15) continue; // all of it lies after this warp's rows
        float c[BC / 8][4];
        clear(c);
#pragma unroll
        for (int k = 0; k < D / 16; k++) {
            uint32_t a[4];
            load_a<D>(a, q_tile, warp * 16, k, lane);
            times_rows<D>(c, a, kt, k, lane);
        }
        if (from + BC - 1 > row0 || from + BC > s.time) {
#pragma unroll
            for (int n = 0; n < BC / 8; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    int key = from + n * 8 + 2 * (lane & 3) + (e & 1);
                    if (key > row + (e >> 1) * 8 || key >= s.time) c[n][e] = -INFINITY;
                }
        }
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float most = top[h];
#pragma unroll
            for (int n = 0; n < BC / 8; n++) most = fmaxf(most, fmaxf(c[n][2 * h], c[n][2 * h + 1]));
            most = fmaxf(most, __shfl_xor_sync(ALL, most, 1));
            most = fmaxf(most, __shfl_xor_sync(ALL, most, 2));
            // -inf only where a row has seen no key yet.
            float base = most == -INFINITY ? 0.f : most * factor;
            float shrink = exp2_of(top[h] * factor - base);
            top[h] = most;
            float total = 0.f;
#pragma unroll
            for (int n = 0; n < BC / 8; n++)
#pragma unroll
                for (int e = 2 * h; e < 2 * h + 2; e++) {
                    c[n][e] = exp2_of(c[n][e] * factor - base);
                    total += c[n][e];
                }
            sum[h] = sum[h] * shrink + total;
#pragma unroll
            for (int n = 0; n < D / 8; n++) o[n][2 * h] *= shrink, o[n][2 * h + 1] *= shrink;
        }
#pragma unroll
        for (int k = 0; k < BC / 16; k++) {
            uint32_t a[4];
            as_a(a, c, k);
            times_columns<D>(o, a, vt, k, lane);
        }
    }
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
        for (int n = 0; n < D / 8; n++) {
            if (PADDED && n * 8 + 2 * (lane & 3) >= d) continue;
            *reinterpret_cast<uint32_t *>(to + n * 8) = pack(o[n][2 * h] * scale, o[n][2 * h + 1] * scale);
        }
        if ((lane & 3) == 0)
            lse[(int64_t(batch) * s.n_head + head) * s.time + at] = top[h] * s.scale + logf(total);
    }
}
extern "C" __global__ void __launch_bounds__(128, 4)
    attention_64(bf16 *out, float *lse, const bf16 *qkv, Shape s) {
    forward<64, 4, false>(out, lse, qkv, s, {});
}
extern "C" __global__ void __launch_bounds__(128, 4)
    attention_64_padded(bf16 *out, float *lse, const bf16 *qkv, Shape s, int d, int bytes) {
    forward<64, 4, true>(out, lse, qkv, s, {d, bytes});
}
extern "C" __global__ void __launch_bounds__(256, 1)
    attention_128(bf16 *out, float *lse, const bf16 *qkv, Shape s) {
    forward<128, 8, false>(out, lse, qkv, s, {});
}
extern "C" __global__ void __launch_bounds__(256, 1)
    attention_128_padded(bf16 *out, float *lse, const bf16 *qkv, Shape s, int d, int bytes) {
    forward<128, 8, true>(out, lse, qkv, s, {d, bytes});
}

// ---- backward

// delta[b, h, t] = sum over channels of dout out. Eight threads for a row of a head; d is a multiple of 4.
extern "C" __global__ void attention_delta_bf16(float *delta, const bf16 *dout, const bf16 *out, int rows, int time, int n_head, int d) {
    int64_t i = (int64_t(blockIdx.x) * blockDim.x + threadIdx.x) / 8;
    bool there = i < int64_t(rows) * n_head;
    dout += i * d, out += i * d;
    float sum = 0.f;
    for (int k = threadIdx.x % 8 * 8; there && k < d; k += 64) {
#pragma unroll
        for (int half = 0; half < 8; half += 4) {
            if (k + half >= d) break;
            float a[4], b[4];
            load<4>(a, dout + k + half);
            load<4>(b, out + k + half);
            sum += a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3];
        }
    }
    sum += __shfl_xor_sync(ALL, sum, 1);
    sum += __shfl_xor_sync(ALL, sum, 2);
    sum += __shfl_xor_sync(ALL, sum, 4);
    int64_t row = i / n_head;
    int head = int(i % n_head);
    if (there && threadIdx.x % 8 == 0) delta[(row / time * n_head + head) * time + row % time] = sum;
}

// dK and dV of 16 WARPS keys. Scores lie transposed: rows are keys, columns queries.
template <int D, int BQ, int WARPS, bool PADDED>
__device__ __forceinline__ void backward_keys(bf16 *dqkv, const bf16 *dout, const bf16 *qkv, const float *lse,
                                              const float *delta, Shape s, Padding padding) {
    const int d = PADDED ? padding.d : D;
    constexpr int BK = 16 * WARPS, THREADS = WARPS * WARP, TILE = BQ * D * 2;
    constexpr bool KEEP = D == 64; // keys' and values' operands stay in registers
    extern __shared__ __align__(128) char memory[];
    __shared__ __align__(16) float2 rows[2][BQ]; // log2-sum-exp and delta of the queries
    int group = blockIdx.y, batch = blockIdx.z, first = blockIdx.x * BK;
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    int heads = s.n_head / s.n_kv_head;
    int64_t stride = int64_t(s.n_head + 2 * s.n_kv_head) * d, width = int64_t(s.n_head) * d;
    const bf16 *base = qkv + int64_t(batch) * s.time * stride;
    const bf16 *keys = base + (s.n_head + group) * d, *values = keys + s.n_kv_head * d;
    uint32_t k_tile = shared_address(memory), v_tile = k_tile + BK * D * 2;
    uint32_t q_tile = v_tile + BK * D * 2, d_tile = q_tile + 2 * TILE;
    fetch<D, BK, THREADS, PADDED>(k_tile, keys, stride, first, s.time, padding);
    fetch<D, BK, THREADS, PADDED>(v_tile, values, stride, first, s.time, padding);

    int from = first / BQ, each = (s.time + BQ - 1) / BQ - from, steps = heads * each;
    auto begin = [&](int step) {
        int head = group * heads + step / each, q = (from + step % each) * BQ, turn = step & 1;
        fetch<D, BQ, THREADS, PADDED>(q_tile + turn * TILE, base + head * d, stride, q, s.time, padding);
        fetch<D, BQ, THREADS, PADDED>(d_tile + turn * TILE, dout + int64_t(batch) * s.time * width + head * d, width, q, s.time,
                                      padding);
        int64_t at = (int64_t(batch) * s.n_head + head) * s.time + q;
        for (int i = threadIdx.x; i < BQ; i += THREADS)
            rows[turn][i] = q + i < s.time ? make_float2(lse[at + i] * LOG2E, delta[at + i]) : make_float2(INFINITY, 0.f);
    };
    begin(0);
    commit();

    float dk[D / 8][4], dv[D / 8][4];
    clear(dk);
    clear(dv);
    uint32_t ka[KEEP ? D / 16 : 1][4], va[KEEP ? D / 16 : 1][4];
    float factor = s.scale * LOG2E;
    int row0 = first + warp * 16;
    for (int step = 0; step < steps; step++) {
        wait<0>();
        __syncthreads();
        int turn = step & 1;
        if constexpr (KEEP) {
            if (step == 0) {
#pragma unroll
                for (int k = 0; k < D / 16; k++) {
                    load_a<D>(ka[k], k_tile, warp * 16, k, lane);
                    load_a<D>(va[k], v_tile, warp * 16, k, lane);
                }
            }
        }
        if (step + 1 < steps) begin(step + 1);
        commit();
        int q0 = (from + step % each) * BQ;
        if (q0 + BQ - 1 < row0) continue; // all of it lies before this warp's keys
        uint32_t qt = q_tile + turn * TILE, dt = d_tile + turn * TILE;
        float p[BQ / 8][4], dp[BQ / 8][4];
        clear(p);
        clear(dp);
#pragma unroll
        for (int k = 0; k < D / 16; k++) {
            if constexpr (KEEP) {
                times_rows<D>(p, ka[k], qt, k, lane);
                times_rows<D>(dp, va[k], dt, k, lane);
            } else {
                uint32_t a[4];
                load_a<D>(a, k_tile, warp * 16, k, lane);
                times_rows<D>(p, a, qt, k, lane);
                load_a<D>(a, v_tile, warp * 16, k, lane);
                times_rows<D>(dp, a, dt, k, lane);
            }
        }
        int key = row0 + lane / 4;
        bool masked = q0 < row0 + 15;
#pragma unroll
        for (int n = 0; n < BQ / 8; n++) {
            // Two neighbouring queries: their log-sum-exps and deltas. A query beyond the last has an infinite one: p = 0.
            float4 both = *reinterpret_cast<const float4 *>(&rows[turn][n * 8 + 2 * (lane & 3)]);
#pragma unroll
            for (int e = 0; e < 4; e++) {
                float l = e & 1 ? both.z : both.x, less = e & 1 ? both.w : both.y;
                float x = exp2_of(p[n][e] * factor - l);
                if (masked && q0 + n * 8 + 2 * (lane & 3) + (e & 1) < key + (e >> 1) * 8) x = 0.f;
                p[n][e] = x;
                dp[n][e] = x * (dp[n][e] - less);
            }
        }
#pragma unroll
        for (int k = 0; k < BQ / 16; k++) {
            uint32_t a[4];
            as_a(a, p, k);
            times_columns<D>(dv, a, dt, k, lane);
            as_a(a, dp, k);
            times_columns<D>(dk, a, qt, k, lane);
        }
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int row = row0 + h * 8 + lane / 4;
        if (row >= s.time) continue;
        bf16 *to = dqkv + (int64_t(batch) * s.time + row) * stride + (s.n_head + group) * d + 2 * (lane & 3);
#pragma unroll
        for (int n = 0; n < D / 8; n++) {
            if (PADDED && n * 8 + 2 * (lane & 3) >= d) continue;
            *reinterpret_cast<uint32_t *>(to + n * 8) = pack(dk[n][2 * h] * s.scale, dk[n][2 * h + 1] * s.scale);
            *reinterpret_cast<uint32_t *>(to + s.n_kv_head * d + n * 8) = pack(dv[n][2 * h], dv[n][2 * h + 1]);
        }
    }
}
extern "C" __global__ void __launch_bounds__(128, 2)
    attention_backward_keys_64(bf16 *dqkv, const bf16 *dout, const bf16 *qkv, const float *lse, const float *delta, Shape s) {
    backward_keys<64, 64, 4, false>(dqkv, dout, qkv, lse, delta, s, {});
}
extern "C" __global__ void __launch_bounds__(128, 2)
    attention_backward_keys_64_padded(bf16 *dqkv, const bf16 *dout, const bf16 *qkv,
        const float *lse, const float *delta, Shape s, int d, int bytes) {
    backward_keys<64, 64, 4, true>(dqkv, dout, qkv, lse, delta, s, {d, bytes});
}
extern "C" __global__ void __launch_bounds__(128, 2)
    attention_backward_keys_128(bf16 *dqkv, const bf16 *dout, const bf16 *qkv, const float *lse, const float *delta, Shape s) {
    backward_keys<128, 32, 4, false>(dqkv, dout, qkv, lse, delta, s, {});
}
extern "C" __global__ void __launch_bounds__(128, 2)
    attention_backward_keys_128_padded(bf16 *dqkv, const bf16 *dout, const bf16 *qkv,
        const float *lse, const float *delta, Shape s, int d, int bytes) {
    backward_keys<128, 32, 4, true>(dqkv, dout, qkv, lse, delta, s, {d, bytes});
}

// dQ of 16 WARPS queries.
template <int D, int BC, int WARPS, bool PADDED>
__device__ __forceinline__ void backward_queries(bf16 *dqkv, const bf16 *dout, const bf16 *qkv, const float *lse,
                                                 const float *delta, Shape s, Padding padding) {
    const int d = PADDED ? padding.d : D;
    constexpr int BR = 16 * WARPS, THREADS = WARPS * WARP, TILE = BC * D * 2;
    constexpr bool KEEP = D == 64;
    extern __shared__ __align__(128) char memory[];
    int head = blockIdx.y, batch = blockIdx.z, first = (gridDim.x - 1 - blockIdx.x) * BR;
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    int group = head / (s.n_head / s.n_kv_head);
    int64_t stride = int64_t(s.n_head + 2 * s.n_kv_head) * d, width = int64_t(s.n_head) * d;
    const bf16 *base = qkv + int64_t(batch) * s.time * stride;
    const bf16 *keys = base + (s.n_head + group) * d, *values = keys + s.n_kv_head * d;
    uint32_t q_tile = shared_address(memory), d_tile = q_tile + BR * D * 2;
    uint32_t k_tile = d_tile + BR * D * 2, v_tile = k_tile + 2 * TILE;
    fetch<D, BR, THREADS, PADDED>(q_tile, base + head * d, stride, first, s.time, padding);
    fetch<D, BR, THREADS, PADDED>(d_tile, dout + int64_t(batch) * s.time * width + head * d, width, first, s.time, padding);
    fetch<D, BC, THREADS, PADDED>(k_tile, keys, stride, 0, s.time, padding);
    fetch<D, BC, THREADS, PADDED>(v_tile, values, stride, 0, s.time, padding);
    commit();
    int row0 = first + warp * 16;
    float l[2], delta_of[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int row = row0 + h * 8 + lane / 4;
        int64_t at = (int64_t(batch) * s.n_head + head) * s.time + row;
        l[h] = row < s.time ? lse[at] * LOG2E : INFINITY;
        delta_of[h] = row < s.time ? delta[at] : 0.f;
    }
    float dq[D / 8][4];
    clear(dq);
    uint32_t qa[KEEP ? D / 16 : 1][4], da[KEEP ? D / 16 : 1][4];
    float factor = s.scale * LOG2E;
    int blocks = (min(first + BR, s.time) + BC - 1) / BC;
    for (int j = 0; j < blocks; j++) {
        wait<0>();
        __syncthreads();
        if constexpr (KEEP) {
            if (j == 0) {
#pragma unroll
                for (int k = 0; k < D / 16; k++) {
                    load_a<D>(qa[k], q_tile, warp * 16, k, lane);
                    load_a<D>(da[k], d_tile, warp * 16, k, lane);
                }
            }
        }
        if (j + 1 < blocks) {
            int other = ((j + 1) & 1) * TILE;
            fetch<D, BC, THREADS, PADDED>(k_tile + other, keys, stride, (j + 1) * BC, s.time, padding);
            fetch<D, BC, THREADS, PADDED>(v_tile + other, values, stride, (j + 1) * BC, s.time, padding);
        }
        commit();
        int from = j * BC;
        if (from > row0 + 15) continue;
        uint32_t kt = k_tile + (j & 1) * TILE, vt = v_tile + (j & 1) * TILE;
        float p[BC / 8][4], dp[BC / 8][4];
        clear(p);
        clear(dp);
#pragma unroll
        for (int k = 0; k < D / 16; k++) {
            if constexpr (KEEP) {
                times_rows<D>(p, qa[k], kt, k, lane);
                times_rows<D>(dp, da[k], vt, k, lane);
            } else {
                uint32_t a[4];
                load_a<D>(a, q_tile, warp * 16, k, lane);
                times_rows<D>(p, a, kt, k, lane);
                load_a<D>(a, d_tile, warp * 16, k, lane);
                times_rows<D>(dp, a, vt, k, lane);
            }
        }
        int row = row0 + lane / 4;
        bool masked = from + BC - 1 > row0 || from + BC > s.time;
#pragma unroll
        for (int n = 0; n < BC / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                float x = exp2_of(p[n][e] * factor - l[e >> 1]);
                int key = from + n * 8 + 2 * (lane & 3) + (e & 1);
                if (masked && (key > row + (e >> 1) * 8 || key >= s.time)) x = 0.f;
                dp[n][e] = x * (dp[n][e] - delta_of[e >> 1]);
            }
#pragma unroll
        for (int k = 0; k < BC / 16; k++) {
            uint32_t a[4];
            as_a(a, dp, k);
            times_columns<D>(dq, a, kt, k, lane);
        }
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int row = row0 + h * 8 + lane / 4;
        if (row >= s.time) continue;
        bf16 *to = dqkv + (int64_t(batch) * s.time + row) * stride + head * d + 2 * (lane & 3);
#pragma unroll
        for (int n = 0; n < D / 8; n++) {
            if (PADDED && n * 8 + 2 * (lane & 3) >= d) continue;
            *reinterpret_cast<uint32_t *>(to + n * 8) = pack(dq[n][2 * h] * s.scale, dq[n][2 * h + 1] * s.scale);
        }
    }
}
extern "C" __global__ void __launch_bounds__(128, 3)
    attention_backward_queries_64(bf16 *dqkv, const bf16 *dout, const bf16 *qkv, const float *lse, const float *delta, Shape s) {
    backward_queries<64, 64, 4, false>(dqkv, dout, qkv, lse, delta, s, {});
}
extern "C" __global__ void __launch_bounds__(128, 3)
    attention_backward_queries_64_padded(bf16 *dqkv, const bf16 *dout, const bf16 *qkv,
        const float *lse, const float *delta, Shape s, int d, int bytes) {
    backward_queries<64, 64, 4, true>(dqkv, dout, qkv, lse, delta, s, {d, bytes});
}
extern "C" __global__ void __launch_bounds__(128, 2)
    attention_backward_queries_128(bf16 *dqkv, const bf16 *dout, const bf16 *qkv, const float *lse, const float *delta, Shape s) {
    backward_queries<128, 64, 4, false>(dqkv, dout, qkv, lse, delta, s, {});
}
extern "C" __global__ void __launch_bounds__(128, 2)
    attention_backward_queries_128_padded(bf16 *dqkv, const bf16 *dout, const bf16 *qkv,
        const float *lse, const float *delta, Shape s, int d, int bytes) {
    backward_queries<128, 64, 4, true>(dqkv, dout, qkv, lse, delta, s, {d, bytes});
}
