#include "block.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>

thread_local uint3 threadIdx, blockIdx, blockDim, gridDim;

// The dynamic shared memory of every kernel; its real size is the launch's.
constexpr unsigned MOST_SHARED = 227 << 10, SHARED_BEGIN = 1024;
thread_local __align__(1024) char memory[MOST_SHARED];

namespace {

constexpr int WARP = 32;
constexpr size_t STACK = 256 << 10;

// ---- fibers

#if defined(__x86_64__)
// Saves what a function must preserve and the stack's top, and continues at another one's.
extern "C" void switch_stack(void **save, void *to);
asm(R"(
.text
switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");
struct Context {
    void *top = nullptr;
    void prepare(char *stack, size_t bytes, void (*begin)()) {
        void **at = reinterpret_cast<void **>(stack + bytes) - 2;
        *--at = nullptr; // where `begin` would return to
        *--at = reinterpret_cast<void *>(begin);
        top = at - 6;
    }
};
void go(Context &from, Context &to) { switch_stack(&from.top, to.top); }
#else
struct Context {
    ucontext_t state;
    void prepare(char *stack, size_t bytes, void (*begin)()) {
        getcontext(&state);
        state.uc_stack.ss_sp = stack, state.uc_stack.ss_size = bytes, state.uc_link = nullptr;
        makecontext(&state, begin, 0);
    }
};
void go(Context &from, Context &to) { swapcontext(&from.state, &to.state); }
#endif

// Where a fixed number of threads wait for each other.
struct Meeting {
    int size = 0, arrived = 0;
    uint64_t times = 0;
    const char *what = nullptr;
};

struct Copy {
    uint32_t to;
    const void *from;
    bool there;
    int bytes;
};
// c[64 x 64] (+)= A B, of the thread's fragments.
struct Product {
    float (*c)[4];
    const uint32_t *a;
    uint64_t described, b;
    int add;
    bool turned;
    bool operator!=(const Product &o) const {
        return (a == nullptr) != (o.a == nullptr) || described != o.described || b != o.b || add != o.add || turned != o.turned;
    }
};

struct Thread {
    Context context;
    bool ended = false;
    const Meeting *waits_for = nullptr;
    uint64_t times = 0;
    // Groups of copies and of products, of which the last one may still grow.
    std::vector<std::vector<Copy>> copies{1};
    std::vector<std::vector<Product>> products{1};
    bool unseen = false; // copies that arrived and the products cannot see yet
    bool fenced = false;
    // What it brings to a meeting of its warp.
    float value, result;
    uint32_t address, *r, b[2];
    const uint32_t *a;
    float *c;
};

struct Block {
    const std::function<void()> *kernel;
    const std::vector<Memory> *memory;
    unsigned shared;
    Freedom freedom;
    std::vector<Thread> threads;
    std::vector<Meeting> warps;
    Meeting all;
    Context scheduler;
    int now = 0;
    std::string wrong;
};
thread_local Block *block;

Thread &self() { return block->threads[block->now]; }
Thread &lane(int i) { return block->threads[block->now / WARP * WARP + i]; }

// Leaves this thread until the scheduler returns to it.
void leave() { go(self().context, block->scheduler); }
[[gnu::noinline]] void fail(const std::string &what) {
    if (block->wrong.empty())
        block->wrong = what + " (thread " + std::to_string(block->now) + " of block " + std::to_string(blockIdx.x) + ", " +
                       std::to_string(blockIdx.y) + ", " + std::to_string(blockIdx.z) + ")";
    leave();
}
// Waits for all threads of a meeting; the last one does what all came for.
template <class F> void meet(Meeting &m, const char *what, F last) {
    if (m.arrived > 0 && m.what != what) return fail(std::string("some threads are at ") + m.what + ", some at " + what);
    m.what = what;
    if (++m.arrived == m.size) {
        last();
        m.arrived = 0;
        m.times++;
        return;
    }
    Thread &t = self();
    t.waits_for = &m;
    t.times = m.times;
    leave();
}
Meeting &warp() { return block->warps[block->now / WARP]; }

void begin_fiber() {
    (*block->kernel)();
    Thread &t = self();
    if (t.copies.size() > 1 || !t.copies[0].empty()) {
        // Copies that are never waited for happen all the same.
        wait_for_copies(0);
    }
    if (t.products.size() > 1 || !t.products[0].empty()) fail("it ended before its products");
    t.ended = true;
    leave();
    abort();
}

char *stacks(int n) {
    static char *all = nullptr;
    static int have = 0;
    if (have < n) {
        void *p = mmap(nullptr, n * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED) perror("mmap"), exit(2);
        all = static_cast<char *>(p), have = n;
    }
    return all;
}

// ---- shared memory

char *spot(uint32_t address, unsigned bytes, const char *what) {
    bool inside = address >= SHARED_BEGIN && address - SHARED_BEGIN + bytes <= block->shared;
    if (!inside) fail(std::string(what) + " outside shared memory");
    if (address % bytes != 0) fail(std::string(what) + " at an address that is no multiple of " + std::to_string(bytes));
    return memory + (inside ? address - SHARED_BEGIN : 0);
}
float element(const char *p) {
    __nv_bfloat16 v;
    memcpy(&v, p, 2);
    return __bfloat162float(v);
}
float half(uint32_t pair, int which) { return __bfloat162float({uint16_t(pair >> (16 * which))}); }

void carry_out(const Copy &copy) {
    char *to = spot(copy.to, copy.bytes, "a copy");
    if (copy.there)
        memcpy(to, copy.from, copy.bytes);
    else
        memset(to, 0, copy.bytes);
}

// ---- products of Hopper

// The 16 bytes of row `row` and piece `piece` of a described tile: 128-byte swizzle, eight rows of 128 bytes, then the stride.
char *described(uint64_t descriptor, int row, int piece) {
    if (descriptor >> 62 != 1 || (descriptor >> 49 & 7) != 0) fail("a descriptor without the 128-byte swizzle");
    uint32_t begin = uint32_t(descriptor & 0x3fff) << 4, stride = uint32_t(descriptor >> 32 & 0x3fff) << 4;
    uint32_t at = begin + row / 8 * stride + row % 8 * 128 + piece * 16;
    return spot(at ^ (at >> 7 & 7) << 4, 16, "a product's operand");
}

// Does the product that every thread of this warp has: its 16 rows of A, all of B. The four warps of a group issue it
// together, but nothing makes one wait for another.
void carry_out(const std::vector<const Product *> &of) {
    float a[16][16], b[16][64], c[16][64];
    int first = block->now / WARP % 4 * 16;
    for (int l = 1; l < WARP; l++)
        if (*of[l] != *of[0]) return fail("threads differ in their product");
    const Product &p = *of[0];
    for (int k = 0; k < 16; k++)
        for (int n = 0; n < 64; n++)
            b[k][n] = element(p.turned ? described(p.b, k, n / 8) + n % 8 * 2 : described(p.b, n, k / 8) + k % 8 * 2);
    for (int l = 0; l < WARP; l++) {
        int row = l / 4, column = 2 * (l % 4);
        for (int i = 0; p.a && i < 8; i++) a[row + i / 2 % 2 * 8][column + i / 4 * 8 + i % 2] = half(of[l]->a[i / 2], i % 2);
        for (int n = 0; n < 8; n++)
            for (int e = 0; e < 4; e++) c[row + e / 2 * 8][n * 8 + column + e % 2] = p.add ? of[l]->c[n][e] : 0.f;
    }
    if (!p.a)
        for (int m = 0; m < 16; m++)
            for (int k = 0; k < 16; k++) a[m][k] = element(described(p.described, first + m, k / 8) + k % 8 * 2);
    for (int m = 0; m < 16; m++)
        for (int k = 0; k < 16; k++)
            for (int n = 0; n < 64; n++) c[m][n] += a[m][k] * b[k][n];
    for (int l = 0; l < WARP; l++)
        for (int n = 0; n < 8; n++)
            for (int e = 0; e < 4; e++) of[l]->c[n][e] = c[l / 4 + e / 2 * 8][n * 8 + 2 * (l % 4) + e % 2];
}
// Does all products of this warp but those of the last `but` groups that are complete.
void carry_out_products(size_t but) {
    auto &first = lane(0).products;
    while (first.size() > but + 1) {
        for (size_t i = 0; i < first[0].size(); i++) {
            std::vector<const Product *> of;
            for (int l = 0; l < WARP; l++) {
                auto &own = lane(l).products;
                if (own.size() != first.size() || own[0].size() != first[0].size())
                    return fail("threads differ in the number of their products");
                of.push_back(&own[0][i]);
            }
            carry_out(of);
        }
        for (int l = 0; l < WARP; l++) lane(l).products.erase(lane(l).products.begin());
    }
}

std::string run_block(const Launch &launch, const std::vector<Memory> &memory_, Freedom freedom, uint3 index,
                      const std::function<void()> &kernel) {
    Block b;
    block = &b;
    b.kernel = &kernel, b.memory = &memory_, b.shared = launch.shared, b.freedom = freedom;
    b.threads = std::vector<Thread>(launch.threads);
    b.warps = std::vector<Meeting>(launch.threads / WARP);
    for (auto &w : b.warps) w.size = WARP;
    b.all.size = int(launch.threads);
    blockIdx = index, gridDim = launch.grid, blockDim = {launch.threads, 1, 1};
    // bf16 and f32 NaN.
    memset(memory, 0xff, sizeof memory);
    char *stack = stacks(int(launch.threads));
    int n = int(launch.threads);
    for (int i = 0; i < n; i++) b.threads[i].context.prepare(stack + i * STACK, STACK, begin_fiber);
    int left = n;
    // Runs this warp as far as it comes without the others.
    auto run_warp = [&](int warp) {
        bool moved = false;
        for (bool again = true; again && b.wrong.empty();) {
            again = false;
            for (int i = 0; i < WARP && b.wrong.empty(); i++) {
                b.now = warp * WARP + (freedom.reversed ? WARP - 1 - i : i);
                Thread &t = b.threads[b.now];
                if (t.ended || (t.waits_for && t.waits_for->times == t.times)) continue;
                t.waits_for = nullptr;
                threadIdx = {unsigned(b.now), 0, 0};
                go(b.scheduler, t.context);
                again = moved = true;
                if (t.ended) left--;
            }
        }
        return moved;
    };
    while (left > 0 && b.wrong.empty()) {
        bool moved = false;
        int warps = n / WARP;
        for (int w = 0; w < warps; w++) moved |= run_warp(freedom.reversed ? warps - 1 - w : w);
        if (!moved && b.wrong.empty()) b.wrong = "threads wait for others that do not come";
    }
    block = nullptr;
    return b.wrong;
}

} // namespace

// ---- instructions

void __syncthreads() {
    meet(block->all, "a barrier", [] {});
}
float __shfl_xor_sync(unsigned mask, float x, int across) {
    if (mask != 0xffffffffu) fail("a shuffle of part of a warp");
    self().value = x;
    meet(warp(), "a shuffle", [&] {
        for (int i = 0; i < WARP; i++) lane(i).result = lane(i ^ across).value;
    });
    return self().result;
}

uint32_t shared_address(const void *p) { return uint32_t(static_cast<const char *>(p) - memory) + SHARED_BEGIN; }

void copy_bytes(uint32_t to, const void *from, bool there, int bytes) {
    if (reinterpret_cast<uintptr_t>(from) % bytes != 0) fail("a copy from an address that is no multiple of its size");
    if (there) {
        bool inside = false;
        for (const Memory &m : *block->memory) {
            auto begin = reinterpret_cast<uintptr_t>(m.begin), at = reinterpret_cast<uintptr_t>(from);
            inside |= at >= begin && at + bytes <= begin + m.bytes;
        }
        if (!inside) fail("a copy from outside the operands");
    }
    Copy copy{to, from, there, bytes};
    if (!block->freedom.late_copies) carry_out(copy);
    self().copies.back().push_back(copy);
}
void commit() { self().copies.emplace_back(); }
void wait_for_copies(int but) {
    Thread &t = self();
    while (t.copies.size() > size_t(but) + 1) {
        if (block->freedom.late_copies)
            for (const Copy &copy : t.copies[0]) carry_out(copy);
        t.unseen |= !t.copies[0].empty();
        t.copies.erase(t.copies.begin());
    }
}

void load_matrices(uint32_t (&r)[4], uint32_t address) {
    self().address = address, self().r = r;
    meet(warp(), "a load of matrices", [] {
        for (int i = 0; i < 4; i++)
            for (int l = 0; l < WARP; l++)
                memcpy(&lane(l).r[i], spot(lane(8 * i + l / 4).address, 16, "a load") + l % 4 * 4, 4);
    });
}
void load_matrices_turned(uint32_t (&r)[4], uint32_t address) {
    self().address = address, self().r = r;
    meet(warp(), "a load of turned matrices", [] {
        for (int i = 0; i < 4; i++)
            for (int l = 0; l < WARP; l++) {
                uint16_t pair[2];
                for (int e = 0; e < 2; e++)
                    memcpy(&pair[e], spot(lane(8 * i + l % 4 * 2 + e).address, 16, "a load") + l / 4 * 2, 2);
                lane(l).r[i] = pair[0] | uint32_t(pair[1]) << 16;
            }
    });
}
void multiply(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    Thread &t = self();
    t.c = c, t.a = a, t.b[0] = b0, t.b[1] = b1;
    meet(warp(), "a product", [] {
        float a[16][16], b[16][8], c[16][8];
        for (int l = 0; l < WARP; l++) {
            int row = l / 4, column = 2 * (l % 4);
            for (int e = 0; e < 2; e++) {
                for (int i = 0; i < 4; i++) a[row + i % 2 * 8][column + i / 2 * 8 + e] = half(lane(l).a[i], e);
                for (int i = 0; i < 2; i++) b[column + i * 8 + e][row] = half(lane(l).b[i], e);
            }
            for (int e = 0; e < 4; e++) c[row + e / 2 * 8][column + e % 2] = lane(l).c[e];
        }
        for (int m = 0; m < 16; m++)
            for (int k = 0; k < 16; k++)
                for (int n = 0; n < 8; n++) c[m][n] += a[m][k] * b[k][n];
        for (int l = 0; l < WARP; l++)
            for (int e = 0; e < 4; e++) lane(l).c[e] = c[l / 4 + e / 2 * 8][2 * (l % 4) + e % 2];
    });
}

void products_see_copies() { self().unseen = false; }
void products_begin() { self().fenced = true; }
void products_queued() { self().products.emplace_back(); }
void begin_product(float (&c)[8][4], const uint32_t *a, uint64_t described, uint64_t b, int add, bool turned) {
    if (!self().fenced) fail("a product before products_begin");
    for (Thread &t : block->threads)
        if (t.unseen) fail("a product before products_see_copies");
    self().products.back().push_back({c, a, described, b, add, turned});
    if (!block->freedom.late_copies) return; // it happens when it is waited for
    meet(warp(), "a product of four warps", [] {
        std::vector<const Product *> of;
        for (int l = 0; l < WARP; l++) of.push_back(&lane(l).products.back().back());
        carry_out(of);
        for (int l = 0; l < WARP; l++) lane(l).products.back().pop_back();
    });
}
void wait_for_products(int but) {
    meet(warp(), "a wait for products", [&] { carry_out_products(size_t(but)); });
    self().fenced = false;
}

std::string run(const Launch &launch, const std::vector<Memory> &memory, Freedom freedom, const std::function<void()> &kernel) {
    std::string wrong;
    if (launch.shared > MOST_SHARED || launch.threads % WARP != 0) return "a launch that no GPU takes";
    for (unsigned z = 0; z < launch.grid.z && wrong.empty(); z++)
        for (unsigned y = 0; y < launch.grid.y && wrong.empty(); y++)
            for (unsigned x = 0; x < launch.grid.x && wrong.empty(); x++)
                std::thread([&] { wrong = run_block(launch, memory, freedom, {x, y, z}, kernel); }).join();
    return wrong;
}
