// Compares the attention kernels, compiled for the CPU, with attention in f64: cases of head size, length, heads and the
// alignment of operands, each under two orders of what the GPU leaves open. Exit code 1 where one differs.
//
//   emulate             all cases
//   emulate few         some for each head size and family of kernels, each under one order
//   emulate WORD...     those whose line has one of the words
//   emulate launches    the kernels and what they are launched with, for comparison with src/ops
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "block.h"

#if defined(__SANITIZE_ADDRESS__)
extern "C" const char *__asan_default_options() { return "detect_leaks=0:detect_stack_use_after_return=0"; }
#endif

typedef __nv_bfloat16 bf16;
struct Shape {
    int time, n_head, n_kv_head;
    float scale;
};

#define FORWARD bf16 *out, float *lse, const bf16 *qkv, Shape s
#define BACKWARD bf16 *dqkv, const bf16 *dout, const bf16 *qkv, const float *lse, const float *delta, Shape s
#define KERNELS(D, NAME)                                                                       \
    void attention_##D##NAME(FORWARD);                                                         \
    void attention_##D##_padded##NAME(FORWARD, int d, int bytes);                              \
    void attention_backward_keys_##D##NAME(BACKWARD);                                          \
    void attention_backward_keys_##D##_padded##NAME(BACKWARD, int d, int bytes);               \
    void attention_backward_queries_##D##NAME(BACKWARD);                                       \
    void attention_backward_queries_##D##_padded##NAME(BACKWARD, int d, int bytes);
extern "C" {
KERNELS(64, )
KERNELS(128, )
KERNELS(64, _hopper)
KERNELS(128, _hopper)
void attention_delta_bf16(float *delta, const bf16 *dout, const bf16 *out, int rows, int time, int n_head, int d);
void attention_plain_delta_bf16(float *delta, const bf16 *dout, const bf16 *out, int rows, int time, int n_head, int d);
}

namespace {

// ---- kernels

typedef void Forward(FORWARD);
typedef void ForwardPadded(FORWARD, int d, int bytes);
typedef void Backward(BACKWARD);
typedef void BackwardPadded(BACKWARD, int d, int bytes);

// A kernel's rows of time, threads and bytes of shared memory per block.
struct Block {
    unsigned rows, threads, shared;
};
struct Kernels {
    const char *family;
    int d;
    Block forward, keys, queries;
    Forward *exact;
    ForwardPadded *padded;
    Backward *exact_keys, *exact_queries;
    BackwardPadded *padded_keys, *padded_queries;
};
#define POINTERS(D, NAME)                                                                                               \
    attention_##D##NAME, attention_##D##_padded##NAME, attention_backward_keys_##D##NAME, attention_backward_queries_##D##NAME, \
        attention_backward_keys_##D##_padded##NAME, attention_backward_queries_##D##_padded##NAME
const Kernels ALL_KERNELS[] = {
    {"mma", 64, {64, 128, 40960}, {64, 128, 49152}, {64, 128, 49152}, POINTERS(64, )},
    {"mma", 128, {128, 256, 98304}, {64, 128, 65536}, {64, 128, 98304}, POINTERS(128, )},
    {"hopper", 64, {64, 128, 40960}, {64, 128, 49152}, {64, 128, 49152}, POINTERS(64, _hopper)},
    {"hopper", 128, {64, 128, 81920}, {64, 128, 98304}, {64, 128, 98304}, POINTERS(128, _hopper)},
};

// ---- operands

// `n` elements that begin `offset` bytes after a multiple of 256, between guards that must stay as they are. With
// -fsanitize=address, which sees reads as well, the end of the elements is the end of what was allocated.
template <typename T> struct Buffer {
    static constexpr size_t GUARD = 4096;
#if defined(__SANITIZE_ADDRESS__)
    static constexpr size_t AFTER = 0;
#else
    static constexpr size_t AFTER = GUARD;
#endif
    char *all;
    T *data;
    size_t n, offset, bytes;
    Buffer(size_t n, size_t offset = 0) : n(n), offset(offset), bytes(GUARD + offset + n * sizeof(T) + AFTER) {
        if (posix_memalign(reinterpret_cast<void **>(&all), 256, bytes)) abort();
        data = reinterpret_cast<T *>(all + GUARD + offset);
        memset(all, 0xff, bytes); // NaN
    }
    Buffer(const Buffer &) = delete;
    ~Buffer() { free(all); }
    Memory memory() const { return {data, n * sizeof(T)}; }
    bool intact() const {
        auto guard = [&](size_t from, size_t to) { return std::all_of(all + from, all + to, [](char c) { return c == char(0xff); }); };
        return guard(0, GUARD + offset) && guard(bytes - AFTER, bytes);
    }
};
float value(float v) { return v; }
float value(bf16 v) { return __bfloat162float(v); }

struct Case {
    const Kernels *kernels;
    int d, bytes, batch, time, n_head, n_kv_head;
    bool padded() const { return d != kernels->d || bytes != 16; }
};

// ---- attention in f64

struct Wanted {
    std::vector<double> out, lse, dqkv;
};
// `out` and `dqkv` of one window and head; causal, with every probability in memory.
void attend(Wanted &w, const bf16 *qkv, const bf16 *dout, const Case &c, double scale, int batch, int head) {
    int t = c.time, d = c.d, group = head / (c.n_head / c.n_kv_head);
    size_t stride = size_t(c.n_head + 2 * c.n_kv_head) * d, width = size_t(c.n_head) * d;
    size_t q0 = batch * t * stride + head * d, k0 = batch * t * stride + (c.n_head + group) * d, v0 = k0 + c.n_kv_head * d;
    size_t o0 = batch * t * width + head * d;
    std::vector<double> q(t * d), k(t * d), v(t * d), g(t * d), p(t), dp(t), dq(d);
    for (int i = 0; i < t; i++)
        for (int j = 0; j < d; j++) {
            q[i * d + j] = value(qkv[q0 + i * stride + j]), k[i * d + j] = value(qkv[k0 + i * stride + j]);
            v[i * d + j] = value(qkv[v0 + i * stride + j]), g[i * d + j] = value(dout[o0 + i * width + j]);
        }
    auto dot = [&](const std::vector<double> &a, int i, const std::vector<double> &b, int j) {
        double sum = 0;
        for (int e = 0; e < d; e++) sum += a[i * d + e] * b[j * d + e];
        return sum;
    };
    for (int i = 0; i < t; i++) {
        double top = -INFINITY, sum = 0, delta = 0;
        for (int j = 0; j <= i; j++) p[j] = scale * dot(q, i, k, j), top = max(top, p[j]);
        for (int j = 0; j <= i; j++) sum += p[j] = exp(p[j] - top);
        w.lse[(size_t(batch) * c.n_head + head) * t + i] = top + log(sum);
        for (int j = 0; j <= i; j++) {
            p[j] /= sum, dp[j] = dot(g, i, v, j), delta += p[j] * dp[j];
            for (int e = 0; e < d; e++) w.out[o0 + i * width + e] += p[j] * v[j * d + e];
        }
        for (int j = 0; j <= i; j++) {
            double ds = p[j] * (dp[j] - delta) * scale;
            for (int e = 0; e < d; e++) {
                w.dqkv[q0 + i * stride + e] += ds * k[j * d + e];
                w.dqkv[k0 + j * stride + e] += ds * q[i * d + e];
                w.dqkv[v0 + j * stride + e] += p[j] * g[i * d + e];
            }
        }
    }
}

// ---- comparison

// The largest distance of an element, relative to its size and the root mean square of all, and the norm of the differences
// relative to the norm; as shares of what is allowed. NaN becomes infinite.
template <typename T> double share(const Buffer<T> &got, const std::vector<double> &want, double each, double norm) {
    double squares = 0, off = 0, worst = 0;
    for (double v : want) squares += v * v;
    double rms = sqrt(squares / double(want.size()));
    for (size_t i = 0; i < want.size(); i++) {
        double distance = fabs(value(got.data[i]) - want[i]);
        if (!(distance < 1e30)) return INFINITY;
        worst = max(worst, distance / (fabs(want[i]) + rms));
        off += distance * distance;
    }
    return max(worst / each, sqrt(off / squares) / norm);
}

// What is allowed, as in heirloom's selftest: of an element and in norm.
constexpr double LSE[] = {2e-5, 1e-5}, OUT[] = {4e-2, 5e-3}, GRADIENT[] = {1.5e-1, 1e-2};

struct Found {
    double lse = 0, out = 0, dqkv = 0;
    std::string wrong;
};

Launch launch(const Case &c, const Block &b, int heads) {
    return {{(c.time + b.rows - 1) / b.rows, unsigned(heads), unsigned(c.batch)}, b.threads, b.shared};
}
Shape shape(const Case &c) { return {c.time, c.n_head, c.n_kv_head, 1.f / sqrtf(float(c.d))}; }
std::string forward(const Case &c, Freedom freedom, Buffer<bf16> &out, Buffer<float> &lse, const Buffer<bf16> &qkv) {
    const Kernels &k = *c.kernels;
    Shape s = shape(c);
    return run(launch(c, k.forward, c.n_head), {qkv.memory()}, freedom, [&] {
        c.padded() ? k.padded(out.data, lse.data, qkv.data, s, c.d, c.bytes) : k.exact(out.data, lse.data, qkv.data, s);
    });
}

// A NaN in a key makes every later output of its heads NaN, and changes no other.
std::string spread_nan(const Case &c, Freedom freedom) {
    size_t rows = size_t(c.batch) * c.time, row = size_t(c.n_head + 2 * c.n_kv_head) * c.d;
    Buffer<bf16> qkv(rows * row), good(rows * c.n_head * c.d), bad(good.n);
    Buffer<float> good_lse(rows * c.n_head), bad_lse(good_lse.n);
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    for (size_t i = 0; i < qkv.n; i++) qkv.data[i] = __float2bfloat16_rn(normal(random));
    std::string wrong = forward(c, freedom, good, good_lse, qkv);
    int batch = c.batch - 1, from = c.time / 2, group = c.n_kv_head - 1;
    qkv.data[(size_t(batch) * c.time + from) * row + (c.n_head + group) * c.d + c.d / 2] = {0x7fff};
    if (wrong.empty()) wrong = forward(c, freedom, bad, bad_lse, qkv);
    for (size_t i = 0; i < good.n && wrong.empty(); i++) {
        int t = int(i / (c.n_head * c.d) % c.time), head = int(i / c.d % c.n_head), b = int(i / (c.n_head * c.d) / c.time);
        bool reached = b == batch && t >= from && head / (c.n_head / c.n_kv_head) == group;
        size_t at = (size_t(b) * c.n_head + head) * c.time + t;
        bool right = reached ? std::isnan(value(bad.data[i])) && std::isnan(bad_lse.data[at])
                             : good.data[i].bits == bad.data[i].bits && good_lse.data[at] == bad_lse.data[at];
        if (!right) wrong = "position " + std::to_string(t) + " of head " + std::to_string(head);
    }
    return wrong;
}

Found compare(const Case &c, Freedom freedom, unsigned seed, Wanted &wanted) {
    const Kernels &k = *c.kernels;
    int rows = c.batch * c.time, row = (c.n_head + 2 * c.n_kv_head) * c.d;
    size_t offset = c.bytes == 16 ? 0 : c.bytes;
    Shape s = shape(c);
    Buffer<bf16> qkv(size_t(rows) * row, offset), out(size_t(rows) * c.n_head * c.d, offset), dout(out.n, offset), dqkv(qkv.n, offset);
    Buffer<float> lse(size_t(rows) * c.n_head), delta(lse.n);
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (size_t i = 0; i < qkv.n; i++) qkv.data[i] = __float2bfloat16_rn(normal(random));
    for (size_t i = 0; i < dout.n; i++) dout.data[i] = __float2bfloat16_rn(normal(random));
    std::vector<Memory> memory{qkv.memory(), dout.memory()};

    Found found;
    auto step = [&](const char *name, Launch launch, const std::function<void()> &kernel) {
        if (!found.wrong.empty()) return;
        found.wrong = run(launch, memory, freedom, kernel);
        if (!found.wrong.empty()) found.wrong = std::string(name) + ": " + found.wrong;
    };
    found.wrong = forward(c, freedom, out, lse, qkv);
    if (!found.wrong.empty()) found.wrong = "forward: " + found.wrong;
    unsigned sums = unsigned(rows * c.n_head);
    if (c.bytes >= 8)
        step("delta", {{(sums + 31) / 32, 1, 1}, 256, 0},
             [&] { attention_delta_bf16(delta.data, dout.data, out.data, rows, c.time, c.n_head, c.d); });
    else
        step("delta", {{(sums + 7) / 8, 1, 1}, 256, 0},
             [&] { attention_plain_delta_bf16(delta.data, dout.data, out.data, rows, c.time, c.n_head, c.d); });
    step("backward, keys", launch(c, k.keys, c.n_kv_head), [&] {
        c.padded() ? k.padded_keys(dqkv.data, dout.data, qkv.data, lse.data, delta.data, s, c.d, c.bytes)
                   : k.exact_keys(dqkv.data, dout.data, qkv.data, lse.data, delta.data, s);
    });
    step("backward, queries", launch(c, k.queries, c.n_head), [&] {
        c.padded() ? k.padded_queries(dqkv.data, dout.data, qkv.data, lse.data, delta.data, s, c.d, c.bytes)
                   : k.exact_queries(dqkv.data, dout.data, qkv.data, lse.data, delta.data, s);
    });
    if (!found.wrong.empty()) return found;
    if (!(qkv.intact() && out.intact() && dout.intact() && dqkv.intact() && lse.intact() && delta.intact()))
        found.wrong = "something was written outside the outputs";

    if (wanted.out.empty()) {
        wanted = {std::vector<double>(out.n), std::vector<double>(lse.n), std::vector<double>(dqkv.n)};
        for (int b = 0; b < c.batch; b++)
            for (int h = 0; h < c.n_head; h++) attend(wanted, qkv.data, dout.data, c, s.scale, b, h);
    }
    found.lse = share(lse, wanted.lse, LSE[0], LSE[1]);
    found.out = share(out, wanted.out, OUT[0], OUT[1]);
    found.dqkv = share(dqkv, wanted.dqkv, GRADIENT[0], GRADIENT[1]);
    return found;
}

void print_launches() {
    for (const Kernels &k : ALL_KERNELS) {
        const char *name = k.family[0] == 'h' ? "_hopper" : "";
        for (const char *padded : {"", "_padded"}) {
            auto line = [&](const char *kind, const Block &b) {
                printf("attention_%s%d%s%s %u %u %u\n", kind, k.d, padded, name, b.rows, b.threads, b.shared);
            };
            line("", k.forward), line("backward_keys_", k.keys), line("backward_queries_", k.queries);
        }
    }
}

std::vector<Case> cases(bool few) {
    std::vector<Case> all;
    int number = 0;
    for (const Kernels &k : ALL_KERNELS)
        for (int d : {2, 16, 30, 32, 64, 80, 90, 96, 100, 128}) {
            if ((d <= 64) != (k.d == 64)) continue;
            int most = d % 8 == 0 ? 16 : d % 4 == 0 ? 8 : 4;
            if (few) {
                all.push_back({&k, d, most, 1, 70, 4, 2});
                // Three blocks of keys: memory of the first one is used again.
                if (d == 32 || d == 100 || d == k.d) all.push_back({&k, d, most, 1, 140, 2, 1});
                continue;
            }
            for (int time : {1, 37, 64, 130, 200}) {
                int heads[][2] = {{4, 4}, {4, 2}, {6, 1}};
                for (auto &h : heads) {
                    // Operands that begin at fewer bytes are one case in three.
                    int bytes = number % 3 == 0 ? max(4, most / (number % 2 ? 2 : 4)) : most;
                    all.push_back({&k, d, bytes, time < 64 ? 2 : 1, time, h[0], h[1]});
                    number++;
                }
            }
        }
    return all;
}

} // namespace

int main(int count, char **words) {
    if (count == 2 && std::string(words[1]) == "launches") return print_launches(), 0;
    setvbuf(stdout, nullptr, _IOLBF, 0);
    printf("shares of what is allowed, of an element and in norm: lse %g %g, out %g %g, gradients %g %g\n", LSE[0], LSE[1], OUT[0],
           OUT[1], GRADIENT[0], GRADIENT[1]);
    int passed = 0, failed = 0;
    unsigned seed = 0;
    bool few = count == 2 && std::string(words[1]) == "few";
    for (const Case &c : cases(few)) {
        char name[200];
        snprintf(name, sizeof name, "%s %d%s, heads %d/%d of %d, %d x %d, pieces of %d", c.kernels->family, c.kernels->d,
                 c.padded() ? " padded" : "", c.n_head, c.n_kv_head, c.d, c.batch, c.time, c.bytes);
        bool wanted = count < 2 || few;
        for (int i = 1; i < count; i++) wanted |= std::string(name).find(words[i]) != std::string::npos;
        seed++;
        if (!wanted) continue;
        Wanted in_f64;
        for (Freedom f : {Freedom{false, seed % 2 == 0}, Freedom{true, seed % 2 == 1}}) {
            if (few && f.late_copies != (seed % 4 < 2)) continue;
            Found found = compare(c, f, seed, in_f64);
            bool good = found.wrong.empty() && max(found.lse, max(found.out, found.dqkv)) <= 1;
            (good ? passed : failed)++;
            printf("%s %s, %s, %s: lse %.2f, out %.2f, gradients %.2f%s%s\n", good ? "ok  " : "FAIL", name, f.late_copies ? "late copies" : "early copies",
                   f.reversed ? "last thread first" : "first thread first", found.lse, found.out, found.dqkv, found.wrong.empty() ? "" : "; ",
                   found.wrong.c_str());
        }
    }
    for (const Kernels &k : ALL_KERNELS)
        for (int d : {k.d - 28, k.d}) {
            if (count >= 2 && !few) continue;
            std::string wrong = spread_nan({&k, d, d == k.d ? 16 : 8, 1, 70, 4, 2}, {few, false});
            (wrong.empty() ? passed : failed)++;
            printf("%s %s %d%s, heads 4/2 of %d, NaN in a key reaches the outputs that see it, and no other%s%s\n",
                   wrong.empty() ? "ok  " : "FAIL", k.family, k.d, d == k.d ? "" : " padded", d, wrong.empty() ? "" : "; ", wrong.c_str());
        }
    printf("%d passed, %d failed\n", passed, failed);
    return failed > 0 || passed == 0;
}
