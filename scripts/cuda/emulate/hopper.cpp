// Hopper's kernels on the CPU.
#include "../../../src/ops/cuda/kernels/attention_hopper.cu"
