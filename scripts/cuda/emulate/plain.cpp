// The plain kernels on the CPU, of which the tensor cores' backward pass uses the one for delta.
#include "../../../src/ops/cuda/kernels/attention_plain.cu"
thread_local float scores[1 << 14];
