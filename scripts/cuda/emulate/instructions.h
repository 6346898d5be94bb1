// The functions of kernels/instructions.cuh for the CPU, and CUDA's own that need other threads (block.cpp).
#pragma once
#define INSTRUCTIONS

extern thread_local uint3 threadIdx, blockIdx, blockDim, gridDim;

void __syncthreads();
float __shfl_xor_sync(unsigned mask, float x, int across);

uint32_t shared_address(const void *p);
void copy_bytes(uint32_t to, const void *from, bool there, int bytes);
void wait_for_copies(int but);
void commit();
template <int BYTES> inline void copy(uint32_t to, const void *from, bool there) { copy_bytes(to, from, there, BYTES); }
template <int N> inline void wait() { wait_for_copies(N); }

inline float exp2_of(float x) { return exp2f(x); }

void load_matrices(uint32_t (&r)[4], uint32_t address);
void load_matrices_turned(uint32_t (&r)[4], uint32_t address);
void multiply(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);

void products_see_copies();
void products_begin();
void products_queued();
void wait_for_products(int but);
void begin_product(float (&c)[8][4], const uint32_t *a, uint64_t described, uint64_t b, int add, bool turned);
template <int N> inline void products_done() { wait_for_products(N); }
inline void pin(float (&)[8][4]) {}
template <int TURNED> inline void wgmma(float (&c)[8][4], const uint32_t (&a)[4], uint64_t b, int add) {
    begin_product(c, a, 0, b, add, TURNED);
}
template <int TURNED> inline void wgmma(float (&c)[8][4], uint64_t a, uint64_t b, int add) {
    begin_product(c, nullptr, a, b, add, TURNED);
}
