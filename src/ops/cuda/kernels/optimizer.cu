// AdamW with decoupled weight decay over all tensors at once; the weights' bf16 copy, if there is one, is written in passing.
#include "common.cuh"

// What tensors differ in: where each ends, 1 - lr weight_decay, and the bias corrections of its moments.
struct Segment {
    int64_t end;
    float keep, c1, c2, unused;
};

template <int N>
__device__ void adamw_all(float *p, float *m, float *v, bf16 *rounded, const float *g, int64_t n, const Segment *segments,
                          int count, float lr, float beta1, float beta2, float eps, float grad_scale) {
    int64_t stride = int64_t(gridDim.x) * blockDim.x * N;
    int at = 0;
    for (int64_t i = (int64_t(blockIdx.x) * blockDim.x + threadIdx.x) * N; i < n; i += stride) {
        // The first segment that ends after i. Places only grow, so that those before `at` are done with.
        for (int size = count - at; size > 0;) {
            int half = size / 2;
            bool later = segments[at + half].end <= i;
            at = later ? at + half + 1 : at;
            size = later ? size - half - 1 : half;
        }
        Segment s = segments[at];
        float pv[N], mv[N], vv[N], gv[N];
        load<N>(pv, p + i);
        load<N>(mv, m + i);
        load<N>(vv, v + i);
        load<N>(gv, g + i);
#pragma unroll
        for (int k = 0; k < N; k++) {
            float grad = gv[k] * grad_scale;
            mv[k] = beta1 * mv[k] + (1.f - beta1) * grad;
            vv[k] = beta2 * vv[k] + (1.f - beta2) * grad * grad;
            pv[k] = pv[k] * s.keep - lr * (mv[k] * s.c1 / (sqrtf(vv[k] * s.c2) + eps));
        }
        store<N>(p + i, pv);
        store<N>(m + i, mv);
        store<N>(v + i, vv);
        if (rounded) store<N>(rounded + i, pv);
    }
}
#define ADAMW(N)                                                                                                       \
    extern "C" __global__ void adamw_##N(float *p, float *m, float *v, bf16 *rounded, const float *g, int64_t n,       \
                                         const Segment *segments, int count, float lr, float beta1, float beta2,       \
                                         float eps, float grad_scale) {                                                \
        adamw_all<N>(p, m, v, rounded, g, n, segments, count, lr, beta1, beta2, eps, grad_scale);                      \
    }
ADAMW(1)
ADAMW(4)
