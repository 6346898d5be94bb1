// A block of a kernel's grid on the CPU: its threads are fibers, which run one at a time, each until it waits for others.
#pragma once
#include <stdint.h>

#include <functional>
#include <string>
#include <vector>

#include "cuda_bf16.h"

// What an order of events that the GPU does not promise may be. A kernel must be right under each.
struct Freedom {
    bool late;     // copies and products of Hopper happen when they are waited for, rather than when they begin
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
