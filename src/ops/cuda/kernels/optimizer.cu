// AdamW with decoupled weight decay; the weights' bf16 copy, if there is one, is written in passing.
#include "common.cuh"

template <int N>
__device__ void adamw_all(float *p, float *m, float *v, bf16 *rounded, const float *g, int64_t n, float lr, float beta1,
                          float beta2, float eps, float keep, float grad_scale, float c1, float c2) {
    int64_t stride = int64_t(gridDim.x) * blockDim.x * N;
    for (int64_t i = (int64_t(blockIdx.x) * blockDim.x + threadIdx.x) * N; i < n; i += stride) {
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
            pv[k] = pv[k] * keep - lr * (mv[k] * c1 / (sqrtf(vv[k] * c2) + eps));
        }
        store<N>(p + i, pv);
        store<N>(m + i, mv);
        store<N>(v + i, vv);
        if (rounded) store<N>(rounded + i, pv);
    }
}
extern "C" __global__ void adamw(float *p, float *m, float *v, bf16 *rounded, const float *g, int64_t n, float lr,
                                 float beta1, float beta2, float eps, float keep, float grad_scale, float c1, float c2) {
    if (n % 4 == 0 && aligned(p, 16) && aligned(m, 16) && aligned(v, 16) && aligned(g, 16) && aligned(rounded, 8))
        adamw_all<4>(p, m, v, rounded, g, n, lr, beta1, beta2, eps, keep, grad_scale, c1, c2);
    else
        adamw_all<1>(p, m, v, rounded, g, n, lr, beta1, beta2, eps, keep, grad_scale, c1, c2);
}
