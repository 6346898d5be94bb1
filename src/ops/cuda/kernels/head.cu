// Cross entropy of rows of logits, which become their own gradient.
#include "common.cuh"

// A block per row of v logits, rows `stride` apart. losses[row] = lse - logit of the target; with `grad` the row becomes
// scale (softmax - onehot) as elements of G, from the row's beginning on, and what lies between v and stride zero.
template <typename T, typename G>
__device__ void cross_entropy(T *logits, float *losses, const uint32_t *targets, int v, int stride, float scale, int grad) {
    __shared__ float maxima[32], sums[32];
    T *row = logits + int64_t(blockIdx.x) * stride;
    uint32_t target = targets[blockIdx.x];
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    float at_target = target < uint32_t(v) ? to_float(row[target]) : __int_as_float(0x7fc00000);
    float max = -INFINITY, sum = 0.f;
    int whole = v / 4 * 4;
    for (int i = threadIdx.x * 4; i < whole; i += blockDim.x * 4) {
        float x[4];
        load<4>(x, row + i);
        float m = fmaxf(fmaxf(x[0], x[1]), fmaxf(x[2], x[3]));
        if (m > max) {
            sum *= __expf(max - m);
            max = m;
        }
#pragma unroll
        for (int k = 0; k < 4; k++) sum += __expf(x[k] - max);
    }
    for (int i = whole + threadIdx.x; i < v; i += blockDim.x) {
        float x = to_float(row[i]);
        if (x > max) {
            sum *= __expf(max - x);
            max = x;
        }
        sum += __expf(x - max);
    }
    float all = warp_max(max);
    // A thread without logits has -inf and 0, and -inf - -inf would be no number.
    sum = warp_sum(max == -INFINITY ? 0.f : sum * __expf(max - all));
    if (lane == 0) maxima[warp] = all, sums[warp] = sum;
    __syncthreads();
    max = lane < warps ? maxima[lane] : -INFINITY;
    all = warp_max(max);
    sum = warp_sum(max == -INFINITY ? 0.f : sums[lane] * __expf(max - all));
    if (threadIdx.x == 0) losses[blockIdx.x] = logf(sum) + (all - at_target);
    if (!grad) return;
    float factor = scale / sum;
    auto differentiate = [&](float(&x)[4], int i) {
#pragma unroll
        for (int k = 0; k < 4; k++) {
            float p = i + k < v ? __expf(x[k] - all) * factor : 0.f;
            x[k] = p - (uint32_t(i + k) == target ? scale : 0.f);
        }
    };
    float x[4];
    if constexpr (sizeof(G) == sizeof(T)) {
        for (int i = threadIdx.x * 4; i < stride; i += blockDim.x * 4) {
            load<4>(x, row + i);
            differentiate(x, i);
            store<4>(row + i, x);
        }
    } else {
        // Smaller gradients take the place of logits of earlier turns and, after the barrier, of this one's.
        G *gradients = reinterpret_cast<G *>(row);
        for (int from = 0; from < stride; from += blockDim.x * 4) {
            int i = from + threadIdx.x * 4;
            if (i < stride) load<4>(x, row + i);
            __syncthreads();
            if (i >= stride) continue;
            differentiate(x, i);
            store<4>(gradients + i, x);
        }
    }
}
extern "C" __global__ void __launch_bounds__(1024)
    cross_entropy_f32(float *l, float *losses, const uint32_t *targets, int v, int stride, float scale, int grad) {
    cross_entropy<float, float>(l, losses, targets, v, stride, scale, grad);
}
extern "C" __global__ void __launch_bounds__(1024)
    cross_entropy_bf16(bf16 *l, float *losses, const uint32_t *targets, int v, int stride, float scale, int grad) {
    cross_entropy<bf16, bf16>(l, losses, targets, v, stride, scale, grad);
}
// Logits in f32 that become gradients in bf16.
extern "C" __global__ void __launch_bounds__(1024)
    cross_entropy_f32_bf16(float *l, float *losses, const uint32_t *targets, int v, int stride, float scale, int grad) {
    cross_entropy<float, bf16>(l, losses, targets, v, stride, scale, grad);
}
