// The general kernels on the CPU.
#include "../../../src/ops/cuda/kernels/attention.cu"
