// Activations, rotary positions, conversions.
#include "common.cuh"

constexpr float SQRT_2_OVER_PI = 0.7978845608028654f;
constexpr float CUBIC = 0.044715f;

__device__ __forceinline__ float tanh_of(float x) {
    // 1 - 2 / (1 + e^2x): right at both ends, where e^2x is 0 or infinite.
    return 1.f - __fdividef(2.f, 1.f + __expf(fminf(2.f * x, 80.f)));
}
__device__ __forceinline__ float sigmoid(float x) { return __fdividef(1.f, 1.f + __expf(fminf(-x, 80.f))); }
__device__ __forceinline__ float phi(float x) { return 0.5f * (1.f + erff(x * 0.7071067811865476f)); }

struct Tanh {
    static __device__ float value(float x) {
        return 0.5f * x * (1.f + tanh_of(SQRT_2_OVER_PI * (x + CUBIC * x * x * x)));
    }
    static __device__ float slope(float x) {
        float t = tanh_of(SQRT_2_OVER_PI * (x + CUBIC * x * x * x));
        float inner = SQRT_2_OVER_PI * (1.f + 3.f * CUBIC * x * x);
        return 0.5f * (1.f + t) + 0.5f * x * (1.f - t * t) * inner;
    }
};
struct Erf {
    static __device__ float value(float x) { return x * phi(x); }
    static __device__ float slope(float x) { return phi(x) + x * 0.3989422804014327f * __expf(-0.5f * x * x); }
};

template <typename T, typename F, int N, bool BACK>
__device__ void activate(T *out, const T *x, int64_t n) {
    int64_t stride = int64_t(gridDim.x) * blockDim.x * N;
    for (int64_t i = (int64_t(blockIdx.x) * blockDim.x + threadIdx.x) * N; i < n; i += stride) {
        float v[N];
        load<N>(v, x + i);
        if constexpr (BACK) {
            float d[N];
            load<N>(d, out + i);
#pragma unroll
            for (int k = 0; k < N; k++) v[k] = d[k] * F::slope(v[k]);
        } else {
#pragma unroll
            for (int k = 0; k < N; k++) v[k] = F::value(v[k]);
        }
        store<N>(out + i, v);
    }
}

#define ACTIVATION(NAME, T, F, BACK)                                                                                   \
    extern "C" __global__ void NAME(T *out, const T *x, int64_t n) {                                                   \
        if (n % 4 == 0 && aligned(out, 4 * sizeof(T)) && aligned(x, 4 * sizeof(T)))                                    \
            activate<T, F, 4, BACK>(out, x, n);                                                                        \
        else                                                                                                           \
            activate<T, F, 1, BACK>(out, x, n);                                                                        \
    }
ACTIVATION(gelu_f32, float, Tanh, false)
ACTIVATION(gelu_bf16, bf16, Tanh, false)
ACTIVATION(gelu_backward_f32, float, Tanh, true)
ACTIVATION(gelu_backward_bf16, bf16, Tanh, true)
ACTIVATION(gelu_erf_f32, float, Erf, false)
ACTIVATION(gelu_erf_bf16, bf16, Erf, false)
ACTIVATION(gelu_erf_backward_f32, float, Erf, true)
ACTIVATION(gelu_erf_backward_bf16, bf16, Erf, true)

// out[m, f] = silu(gate) up of rows [gate | up].
template <typename T, int N> __device__ void swiglu(T *out, const T *gate_up, int64_t n, int f) {
    int64_t stride = int64_t(gridDim.x) * blockDim.x * N;
    for (int64_t i = (int64_t(blockIdx.x) * blockDim.x + threadIdx.x) * N; i < n; i += stride) {
        const T *row = gate_up + i / f * 2 * f + i % f;
        float g[N], u[N];
        load<N>(g, row);
        load<N>(u, row + f);
#pragma unroll
        for (int k = 0; k < N; k++) g[k] = g[k] * sigmoid(g[k]) * u[k];
        store<N>(out + i, g);
    }
}
template <typename T, int N> __device__ void swiglu_backward(T *d_gate_up, const T *d, const T *gate_up, int64_t n, int f) {
    int64_t stride = int64_t(gridDim.x) * blockDim.x * N;
    for (int64_t i = (int64_t(blockIdx.x) * blockDim.x + threadIdx.x) * N; i < n; i += stride) {
        int64_t at = i / f * 2 * f + i % f;
        float g[N], u[N], dy[N];
        load<N>(g, gate_up + at);
        load<N>(u, gate_up + at + f);
        load<N>(dy, d + i);
#pragma unroll
        for (int k = 0; k < N; k++) {
            float s = sigmoid(g[k]), value = g[k] * s;
            float slope = s * (1.f + g[k] * (1.f - s));
            g[k] = dy[k] * u[k] * slope;
            u[k] = dy[k] * value;
        }
        store<N>(d_gate_up + at, g);
        store<N>(d_gate_up + at + f, u);
    }
}
#define SWIGLU(T, NAME)                                                                                                \
    extern "C" __global__ void swiglu_##NAME(T *out, const T *x, int64_t n, int f) {                                   \
        if (f % 4 == 0)                                                                                                \
            swiglu<T, 4>(out, x, n, f);                                                                                \
        else                                                                                                           \
            swiglu<T, 1>(out, x, n, f);                                                                                \
    }                                                                                                                  \
    extern "C" __global__ void swiglu_backward_##NAME(T *dx, const T *d, const T *x, int64_t n, int f) {               \
        if (f % 4 == 0)                                                                                                \
            swiglu_backward<T, 4>(dx, d, x, n, f);                                                                     \
        else                                                                                                           \
            swiglu_backward<T, 1>(dx, d, x, n, f);                                                                     \
    }
SWIGLU(float, f32)
SWIGLU(bf16, bf16)

// Turns pairs (i, i + d/2) of the first `heads` heads of each row of qkv; sign = -1 turns back.
template <typename T>
__device__ void rope(T *qkv, const float *table, int64_t n, int time, int row, int heads, int d, float sign) {
    int half = d / 2, pairs = heads * half;
    int64_t stride = int64_t(gridDim.x) * blockDim.x;
    for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += stride) {
        int64_t m = i / pairs;
        int pair = int(i % pairs), k = pair % half;
        const float *angles = table + int64_t(m % time) * d + k;
        T *a = qkv + m * row + pair / half * d + k;
        float x = to_float(a[0]), y = to_float(a[half]), c = angles[0], s = sign * angles[half];
        a[0] = from_float<T>(x * c - y * s);
        a[half] = from_float<T>(y * c + x * s);
    }
}
extern "C" __global__ void rope_f32(float *q, const float *t, int64_t n, int time, int row, int heads, int d, float sign) {
    rope(q, t, n, time, row, heads, d, sign);
}
extern "C" __global__ void rope_bf16(bf16 *q, const float *t, int64_t n, int time, int row, int heads, int d, float sign) {
    rope(q, t, n, time, row, heads, d, sign);
}

template <int N> __device__ void round_all(bf16 *out, const float *x, int64_t n) {
    int64_t stride = int64_t(gridDim.x) * blockDim.x * N;
    for (int64_t i = (int64_t(blockIdx.x) * blockDim.x + threadIdx.x) * N; i < n; i += stride) {
        float v[N];
        load<N>(v, x + i);
        store<N>(out + i, v);
    }
}
extern "C" __global__ void round_bf16(bf16 *out, const float *x, int64_t n) {
    if (n % 4 == 0 && aligned(x, 16) && aligned(out, 8))
        round_all<4>(out, x, n);
    else
        round_all<1>(out, x, n);
}
