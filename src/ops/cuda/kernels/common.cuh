// What all kernels share: the two element types, loads of neighbouring elements, sums over warps and blocks.
#pragma once
#include <cuda_bf16.h>
#include <stdint.h>

typedef __nv_bfloat16 bf16;

constexpr int WARP = 32;
constexpr unsigned ALL = 0xffffffffu;
constexpr float LOG2E = 1.4426950408889634f;
constexpr float LN2 = 0.6931471805599453f;

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(bf16 x) { return __bfloat162float(x); }
template <typename T> __device__ __forceinline__ T from_float(float x);
template <> __device__ __forceinline__ float from_float<float>(float x) { return x; }
template <> __device__ __forceinline__ bf16 from_float<bf16>(float x) { return __float2bfloat16_rn(x); }

// N neighbouring elements, in one access: N is 1 or 4, and for 4 the address is a multiple of four elements.
template <int N> __device__ __forceinline__ void load(float (&v)[N], const float *p) {
    if constexpr (N == 4) {
        float4 q = *reinterpret_cast<const float4 *>(p);
        v[0] = q.x, v[1] = q.y, v[2] = q.z, v[3] = q.w;
    } else {
        v[0] = *p;
    }
}
template <int N> __device__ __forceinline__ void load(float (&v)[N], const bf16 *p) {
    if constexpr (N == 4) {
        uint2 q = *reinterpret_cast<const uint2 *>(p);
        float2 a = __bfloat1622float2(*reinterpret_cast<__nv_bfloat162 *>(&q.x));
        float2 b = __bfloat1622float2(*reinterpret_cast<__nv_bfloat162 *>(&q.y));
        v[0] = a.x, v[1] = a.y, v[2] = b.x, v[3] = b.y;
    } else {
        v[0] = __bfloat162float(*p);
    }
}
template <int N> __device__ __forceinline__ void store(float *p, const float (&v)[N]) {
    if constexpr (N == 4) {
        *reinterpret_cast<float4 *>(p) = make_float4(v[0], v[1], v[2], v[3]);
    } else {
        *p = v[0];
    }
}
template <int N> __device__ __forceinline__ void store(bf16 *p, const float (&v)[N]) {
    if constexpr (N == 4) {
        __nv_bfloat162 a = __floats2bfloat162_rn(v[0], v[1]), b = __floats2bfloat162_rn(v[2], v[3]);
        *reinterpret_cast<uint2 *>(p) =
            make_uint2(*reinterpret_cast<uint32_t *>(&a), *reinterpret_cast<uint32_t *>(&b));
    } else {
        *p = __float2bfloat16_rn(v[0]);
    }
}

__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
    for (int o = WARP / 2; o > 0; o >>= 1) x += __shfl_xor_sync(ALL, x, o);
    return x;
}
__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
    for (int o = WARP / 2; o > 0; o >>= 1) x = fmaxf(x, __shfl_xor_sync(ALL, x, o));
    return x;
}

// Sum over a block of whole warps; every thread gets it. `room` holds 32 floats, and is free again after the next barrier.
__device__ __forceinline__ float block_sum(float x, float *room) {
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    x = warp_sum(x);
    if (lane == 0) room[warp] = x;
    __syncthreads();
    return warp_sum(lane < warps ? room[lane] : 0.f);
}

__device__ __forceinline__ bool aligned(const void *p, int bytes) {
    return reinterpret_cast<uintptr_t>(p) % bytes == 0;
}
