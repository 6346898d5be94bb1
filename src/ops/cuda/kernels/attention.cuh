// What the attention kernels share: shapes, copies to shared memory, fragments.
#pragma once
#include "common.cuh"
#include "instructions.cuh"

struct Shape {
    int time, n_head, n_kv_head;
    float scale;
};

// A head's channels, of which kernels for D take D or, PADDED, an even number of fewer; zeros stand for the rest, which change no
// product. Heads of padded kernels begin at multiples of `bytes` (4, 8 or 16), in which they are copied.
struct Padding {
    int d, bytes;
};

// Begins to copy the 16 bytes that are one piece of a row to shared memory, or zeros for what is not there.
template <bool PADDED>
__device__ __forceinline__ void copy_piece(uint32_t to, const bf16 *from, bool there, int piece, Padding padding) {
    if constexpr (!PADDED) {
        copy<16>(to, from, there);
    } else {
        int left = there ? padding.d - piece * 8 : 0; // channels
        if (padding.bytes == 16) {
            copy<16>(to, from, left > 0);
        } else if (padding.bytes == 8) {
#pragma unroll
            for (int k = 0; k < 8; k += 4) copy<8>(to + k * 2, from + k, left > k);
        } else {
#pragma unroll
            for (int k = 0; k < 8; k += 2) copy<4>(to + k * 2, from + k, left > k);
        }
    }
}
__device__ __forceinline__ uint32_t pack(float a, float b) {
    __nv_bfloat162 v = __floats2bfloat162_rn(a, b);
    return *reinterpret_cast<uint32_t *>(&v);
}
template <int N> __device__ __forceinline__ void clear(float (&c)[N][4]) {
#pragma unroll
    for (int i = 0; i < N; i++)
#pragma unroll
        for (int k = 0; k < 4; k++) c[i][k] = 0.f;
}
// Two tiles of C, rounded, as the A operand of the k-th step of 16: lane l holds of each the rows l / 4 and l / 4 + 8, columns
// 2 (l % 4) and the next.
template <int N> __device__ __forceinline__ void as_a(uint32_t (&a)[4], const float (&c)[N][4], int k) {
    a[0] = pack(c[2 * k][0], c[2 * k][1]);
    a[1] = pack(c[2 * k][2], c[2 * k][3]);
    a[2] = pack(c[2 * k + 1][0], c[2 * k + 1][1]);
    a[3] = pack(c[2 * k + 1][2], c[2 * k + 1][3]);
}
