// Knowledge distillation on rows of logits of a student and its teacher. The student's logits are replaced by their gradient.
#include "common.cuh"

// Returns the largest value over a block of full warps to every thread. `room` holds 32 floats, and can be reused after the next
// barrier.
__device__ __forceinline__ float block_max(float x, float *room) {
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    x = warp_max(x);
    if (lane == 0) room[warp] = x;
    __syncthreads();
    return warp_max(lane < warps ? room[lane] : -INFINITY);
}

// A block per row of v logits z of the student and t of the teacher, rows `stride` apart in both. With p = softmax(z / T) and
// q = softmax(t / T), losses[row] = (1 - alpha) (lse(z) - z of the target) + alpha T^2 KL(q || p), and z becomes
// scale ((1 - alpha) (softmax(z) - onehot) + alpha T (p - q)); what lies between v and stride becomes zero.
template <typename S, typename T>
__device__ void distillation(S *logits, const T *taught, float *losses, const uint32_t *targets, int v, int stride, float scale,
                             float alpha, float temperature) {
    __shared__ float room[6][32];
    S *row = logits + int64_t(blockIdx.x) * stride;
    const T *teacher = taught + int64_t(blockIdx.x) * stride;
    uint32_t target = targets[blockIdx.x];
    float at_target = target < uint32_t(v) ? to_float(row[target]) : __int_as_float(0x7fc00000);
    float inverse = 1.f / temperature, largest = -INFINITY, largest_taught = -INFINITY;
    for (int i = threadIdx.x * 4; i < stride; i += blockDim.x * 4) {
        float z[4], t[4];
        load<4>(z, row + i);
        load<4>(t, teacher + i);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            if (i + k >= v) continue;
            largest = fmaxf(largest, z[k]);
            largest_taught = fmaxf(largest_taught, t[k]);
        }
    }
    largest = block_max(largest, room[0]);
    largest_taught = block_max(largest_taught, room[1]);
    float hard = 0.f, soft = 0.f, teaching = 0.f, apart = 0.f;
    for (int i = threadIdx.x * 4; i < stride; i += blockDim.x * 4) {
        float z[4], t[4];
        load<4>(z, row + i);
        load<4>(t, teacher + i);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            if (i + k >= v) continue;
            float x = z[k] - largest, y = t[k] - largest_taught, q = __expf(y * inverse);
            hard += __expf(x);
            soft += __expf(x * inverse);
            teaching += q;
            // A logit of -inf has no probability.
            apart += q > 0.f ? q * (y - x) : 0.f;
        }
    }
    hard = block_sum(hard, room[2]);
    soft = block_sum(soft, room[3]);
    teaching = block_sum(teaching, room[4]);
    apart = block_sum(apart, room[5]);
    if (threadIdx.x == 0) {
        float cross_entropy = logf(hard) + (largest - at_target);
        float divergence = apart / (temperature * teaching) - logf(teaching) + logf(soft);
        losses[blockIdx.x] = (1.f - alpha) * cross_entropy + alpha * temperature * temperature * divergence;
    }
    // The barriers in the sums have let every thread read the target's logit before it is overwritten.
    float of_hard = scale * (1.f - alpha) / hard, of_soft = scale * alpha * temperature / soft;
    float of_taught = scale * alpha * temperature / teaching, onehot = scale * (1.f - alpha);
    for (int i = threadIdx.x * 4; i < stride; i += blockDim.x * 4) {
        float z[4], t[4];
        load<4>(z, row + i);
        load<4>(t, teacher + i);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            float x = z[k] - largest, q = __expf((t[k] - largest_taught) * inverse);
            float d = __expf(x) * of_hard + __expf(x * inverse) * of_soft - q * of_taught;
            z[k] = i + k < v ? d - (uint32_t(i + k) == target ? onehot : 0.f) : 0.f;
        }
        store<4>(row + i, z);
    }
}
extern "C" __global__ void __launch_bounds__(1024)
    distillation_f32_f32(float *l, const float *taught, float *losses, const uint32_t *targets, int v, int stride, float scale,
                         float alpha, float temperature) {
    distillation(l, taught, losses, targets, v, stride, scale, alpha, temperature);
}
extern "C" __global__ void __launch_bounds__(1024)
    distillation_f32_bf16(float *l, const bf16 *taught, float *losses, const uint32_t *targets, int v, int stride, float scale,
                          float alpha, float temperature) {
    distillation(l, taught, losses, targets, v, stride, scale, alpha, temperature);
}
extern "C" __global__ void __launch_bounds__(1024)
    distillation_bf16_bf16(bf16 *l, const bf16 *taught, float *losses, const uint32_t *targets, int v, int stride, float scale,
                           float alpha, float temperature) {
    distillation(l, taught, losses, targets, v, stride, scale, alpha, temperature);
}
