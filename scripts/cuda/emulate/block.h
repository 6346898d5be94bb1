// A block of a kernel's grid on the CPU: its threads are fibers, which run one at a time, each until it waits for
// others, and a warp as far as it comes without the other warps.
#pragma once
#include <stdint.h>

#include <functional>
#include <string>
#include <vector>

#include "cuda_bf16.h"

// The order of what the GPU leaves open. A kernel must be right under every one.
struct Freedom {
    // Copies happen when they are waited for and products of Hopper when they begin, rather than the other way round: what is
    // read before it has arrived is found, rather than what is overwritten before it has been read.
    bool late_copies;
    bool reversed; // the last thread runs first
};

// Memory that the kernel may read: begin and bytes.
struct Memory {
    const void *begin;
    size_t bytes;
};

struct Launch {
    uint3 grid;
    unsigned threads, shared;
};

// Runs every block of a grid. Returns what went wrong, or nothing.
std::string run(const Launch &launch, const std::vector<Memory> &memory, Freedom freedom, const std::function<void()> &kernel);
