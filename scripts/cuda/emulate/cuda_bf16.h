// Stands in for NVIDIA's header of this name when kernels are compiled for the CPU: the qualifiers, types and functions of
// CUDA C++ that they use. The instructions are in instructions.h.
#pragma once
#include <stdint.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
// All threads of a block are fibers of one thread of the CPU, and each block has a new one.
#define __shared__ thread_local

struct uint3 {
    unsigned x, y, z;
};
struct alignas(8) uint2 {
    uint32_t x, y;
};
// NaN where nothing has been written, as far as shared memory is made of it.
struct alignas(8) float2 {
    float x = NAN, y = NAN;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
inline uint2 make_uint2(uint32_t x, uint32_t y) { return {x, y}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

struct __nv_bfloat16 {
    uint16_t bits;
};
struct alignas(4) __nv_bfloat162 {
    __nv_bfloat16 x, y;
};
inline float __bfloat162float(__nv_bfloat16 v) {
    uint32_t bits = uint32_t(v.bits) << 16;
    float f;
    memcpy(&f, &bits, 4);
    return f;
}
// To the nearest, ties to even.
inline __nv_bfloat16 __float2bfloat16_rn(float f) {
    if (f != f) return {0x7fff};
    uint32_t bits;
    memcpy(&bits, &f, 4);
    return {uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}
inline float2 __bfloat1622float2(__nv_bfloat162 v) { return {__bfloat162float(v.x), __bfloat162float(v.y)}; }
inline __nv_bfloat162 __floats2bfloat162_rn(float a, float b) { return {__float2bfloat16_rn(a), __float2bfloat16_rn(b)}; }
inline float __expf(float x) { return expf(x); }
inline float __int_as_float(int x) {
    float f;
    memcpy(&f, &x, 4);
    return f;
}
using std::max;
using std::min;

#include "instructions.h"
