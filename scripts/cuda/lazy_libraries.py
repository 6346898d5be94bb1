#!/usr/bin/env python3
"""Makes static libraries that stand for NVIDIA's and open the real ones when one of their functions is first called.

    lazy_libraries.py CUDARC INTO      CUDARC: the source of the crate cudarc, which declares the functions

A program linked with them needs no NVIDIA library to start. Where one is missing, each of its functions returns an error
code. x86-64 Linux: a function is a jump through a table, whose slots are empty at first; the first call keeps the registers
that carry arguments, looks the function up, and goes on to it.

Functions that the oldest supported driver (CUDA 12.0: driver 525) or NCCL (2.22) lacks are left out: a program that could call
one does not link.
"""

import pathlib
import re
import subprocess
import sys

# cudarc's names for the functions of the oldest driver, and of the oldest NCCL that it knows.
CUDA = '"cuda-12000"'
NCCL = '"nccl-02022"'
# Name to link with, cudarc's module, versions of the library to try, with the version of CUDA that the driver must support
# for each, what its functions return where the library is missing, and the oldest version whose functions count. Libraries of one
# major version of CUDA run with every driver of that version and later ones (CUDA Compatibility,
# <https://docs.nvidia.com/deploy/cuda-compatibility/>).
LIBRARIES = [
    ("cuda", "driver", {"libcuda.so.1": 0}, 100, CUDA),  # CUDA_ERROR_NO_DEVICE
    ("cublas", "cublas", {"libcublas.so.13": 13000, "libcublas.so.12": 12000}, 1, CUDA),  # CUBLAS_STATUS_NOT_INITIALIZED
    ("cublasLt", "cublaslt", {"libcublasLt.so.13": 13000, "libcublasLt.so.12": 12000}, 1, CUDA),
    ("curand", "curand", {"libcurand.so.10": 0}, 203, CUDA),  # CURAND_STATUS_INITIALIZATION_FAILED
    ("nvrtc", "nvrtc", {"libnvrtc.so.13": 13000, "libnvrtc.so.12": 12000}, 11, CUDA),  # NVRTC_ERROR_INTERNAL_ERROR
    ("nccl", "nccl", {"libnccl.so.2": 0}, 2, NCCL),  # ncclSystemError
]
FOLDERS = ["", "/usr/local/cuda/lib64/", "/opt/cuda/lib64/", "/usr/lib/x86_64-linux-gnu/"]
DECLARED = re.compile(r'extern "C" \{\s*fn (\w+)\([^;]*?\)\s*(?:->\s*([^;]+))?;', re.S)
VERSIONS = re.compile(r"^(#\[cfg\(any\([^\n]*\)\)\]\n)?pub unsafe fn (\w+)\(", re.M)
INTEGERS = ["rdi", "rsi", "rdx", "rcx", "r8", "r9"]

JUMP = """
.section .text.{name},"ax",@progbits
.globl {name}
.type {name},@function
{name}:
  movq {table}+{offset}(%rip), %r11
  testq %r11, %r11
  jz 1f
  jmp *%r11
1: movl ${index}, %eax
  jmp {first}
"""


def first_call(library):
    """Looks function number %eax up, with all that may hold arguments kept, and goes on to it."""
    keep, restore, at = [], [], 0
    for register in INTEGERS:
        at += 8
        keep.append(f"movq %{register}, -{at}(%rbp)")
        restore.append(f"movq -{at}(%rbp), %{register}")
    for i in range(8):
        at += 16
        keep.append(f"movups %xmm{i}, -{at}(%rbp)")
        restore.append(f"movups -{at}(%rbp), %xmm{i}")
    room = (at + 15) // 16 * 16
    lines = ["pushq %rbp", "movq %rsp, %rbp", f"subq ${room}, %rsp", *keep, "movl %eax, %edi"]
    lines += [f"call lazy_{library}_find", "movq %rax, %r11", *restore, "leave", "jmp *%r11"]
    return f".text\n.hidden lazy_{library}_first\n.globl lazy_{library}_first\nlazy_{library}_first:\n  " + "\n  ".join(lines) + "\n"


def assembly(library, names):
    table = f"lazy_{library}_table"
    text = [first_call(library)]
    for i, name in enumerate(names):
        text.append(JUMP.format(name=name, table=table, offset=8 * i, index=i, first=f"lazy_{library}_first"))
    text.append(f".bss\n.hidden {table}\n.globl {table}\n.align 8\n{table}: .zero {8 * len(names)}\n")
    text.append('.section .note.GNU-stack,"",@progbits\n')
    return "".join(text)


def lookup(library, names, texts, files, code):
    quoted = lambda words: ", ".join(f'"{w}"' for w in words)
    return f"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <pthread.h>
extern void *lazy_{library}_table[] __attribute__((visibility("hidden")));
static const char *const names[] = {{ {quoted(names)} }};
static const char returns_text[] = {{ {", ".join("1" if n in texts else "0" for n in names)} }};
static const char *const files[] = {{ {quoted(files)} }};
static const int drivers[] = {{ {", ".join(map(str, files.values()))} }};
static const char *const folders[] = {{ {quoted(FOLDERS)} }};
static void *library;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int missing(void) {{ return {code}; }}
static const char *missing_text(void) {{ return "{next(iter(files))} was not found"; }}
static int driver_version(void) {{
    int version = 0;
    void *driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_GLOBAL);
    int (*ask)(int *) = driver ? (int (*)(int *))dlsym(driver, "cuDriverGetVersion") : 0;
    return ask && !ask(&version) ? version : 0;
}}
static void open_library(void) {{
    int version = driver_version();
    for (unsigned i = 0; !library && i < sizeof folders / sizeof *folders; i++)
        for (unsigned j = 0; !library && j < sizeof files / sizeof *files; j++) {{
            char path[256];
            if (version < drivers[j]) continue;
            snprintf(path, sizeof path, "%s%s", folders[i], files[j]);
            library = dlopen(path, RTLD_LAZY | RTLD_GLOBAL);
        }}
}}
__attribute__((visibility("hidden"))) void *lazy_{library}_find(unsigned i) {{
    pthread_once(&once, open_library);
    void *found = library ? dlsym(library, names[i]) : 0;
    if (!found) found = returns_text[i] ? (void *)missing_text : (void *)missing;
    __atomic_store_n(&lazy_{library}_table[i], found, __ATOMIC_RELEASE);
    return found;
}}
"""


def main():
    source, into = map(pathlib.Path, sys.argv[1:3])
    into.mkdir(parents=True, exist_ok=True)
    for library, module, files, code, oldest in LIBRARIES:
        text = (source / "src" / module / "sys" / "mod.rs").read_text()
        declared = DECLARED.findall(text)
        old = {name for versions, name in VERSIONS.findall(text) if not versions or oldest in versions}
        names = sorted({name for name, _ in declared} & old)
        if not names:
            sys.exit(f"cudarc declares no functions of {library} where they were looked for")
        texts = {name for name, returned in declared if "c_char" in returned}
        objects = []
        for suffix, text in [(".s", assembly(library, names)), (".c", lookup(library, names, texts, files, code))]:
            file = into / f"{library}{suffix}"
            file.write_text(text)
            objects.append(f"{file}.o")
            subprocess.check_call(["cc", "-c", "-O2", "-fPIC", "-o", objects[-1], str(file)])
        archive = into / f"lib{library}.a"
        archive.unlink(missing_ok=True)
        subprocess.check_call(["ar", "crs", str(archive), *objects])
    # candle links the runtime, too, which only the kernels use that are left out. A real build puts NVIDIA's static one here.
    runtime = into / "libcudart.a"
    runtime.unlink(missing_ok=True)
    subprocess.check_call(["ar", "crs", str(runtime)])


if __name__ == "__main__":
    main()
