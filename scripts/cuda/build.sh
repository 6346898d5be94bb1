#!/usr/bin/env bash
# Builds heirloom for NVIDIA GPUs on a machine that needs neither a GPU nor CUDA (x86-64 Linux; Rust, gcc, Python 3 with pip).
#
#   scripts/cuda/build.sh            the program, target/cuda/release/heirloom: one that starts with and without a GPU
#   scripts/cuda/build.sh check      types and lints of the GPU's code, without NVIDIA's compiler; nothing that could run
#   scripts/cuda/build.sh ptxas      assembles every kernel for every kind of GPU and prints registers, spills and the assembler's
#                                    messages. Exit code 1 where one does not assemble, or Hopper's products would wait for each other
#   scripts/cuda/build.sh emulate    compiles the attention kernels for the CPU (g++) and compares them with f64, some
#                                    minutes; "emulate few" in seconds, without the compiler's checks of addresses. Exit code 1 on a difference
#
# NVIDIA's compiler comes from PyPI into target/cuda/toolkit; CUDA_HOME=/usr/local/cuda uses an installed one. Which version it
# is does not matter to the driver: build.rs gives the PTX the oldest version that has its instructions.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
what=${1:-build}
work=$PWD/target/cuda
mkdir -p "$work"

# For candle's own kernels, which heirloom does not use: 8.0, as heirloom's own, which run on all later cards. (For 90 the PTX
# would be of sm_90a, which no other card takes.)
export CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-80}
# Names the functions and error codes that cudarc knows: those of the newest drivers, since a code that it does not know has no
# meaning in Rust. What drivers from 525 on lack is left out of the libraries that are linked (lazy_libraries.py).
export CUDARC_CUDA_VERSION=13000
export CUDAFORGE_THREADS=${CUDAFORGE_THREADS:-$(nproc)}

toolkit() {
    if [ -z "${CUDA_HOME:-}" ]; then
        CUDA_HOME=$work/toolkit/nvidia/cu13
        if [ ! -x "$CUDA_HOME/bin/nvcc" ]; then
            python3 -m pip download -q --no-deps --only-binary=:all: -d "$work/wheels" \
                nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 \
                nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85
            for wheel in "$work"/wheels/*.whl; do
                python3 -m zipfile -e "$wheel" "$work/toolkit"
            done
            chmod +x "$CUDA_HOME"/bin/* "$CUDA_HOME"/nvvm/bin/*
            ln -sfn lib "$CUDA_HOME/lib64"
        fi
    fi
    export CUDA_HOME CUDA_PATH=$CUDA_HOME
}

# candle links NVIDIA's libraries, and a program so linked does not start where they are missing. These archives of the same
# names open the libraries when a function is first called.
lazy_libraries() {
    local cudarc
    cargo fetch -q
    cudarc=$(cargo metadata --format-version 1 --features cuda | python3 -c '
import json, os, sys
packages = json.load(sys.stdin)["packages"]
print(next(os.path.dirname(p["manifest_path"]) for p in packages if p["name"] == "cudarc"))')
    python3 "$here/lazy_libraries.py" "$cudarc" "$work/libraries"
    export LIBRARY_PATH=$work/libraries
}

export NVCC=$here/nvcc
case $what in
build)
    toolkit
    lazy_libraries
    cp "$CUDA_HOME/lib/libcudart_static.a" "$work/libraries/libcudart.a"
    HEIRLOOM_NVCC=lite CARGO_TARGET_DIR=$work cargo build --release --features cuda
    grep -aq '^\.target sm_80' "$work/release/heirloom" || { echo "the program holds no kernels" >&2; exit 1; }
    # Drivers from 525 on read PTX up to 8.0. candle's modules, which nothing loads, keep the compiler's version.
    for version in 7.4 8.0; do
        grep -aq "^\.version $version" "$work/release/heirloom" || { echo "no kernels of PTX $version" >&2; exit 1; }
    done
    ls -l "$work/release/heirloom"
    ;;
check)
    # In the usual target directory, where most of what is needed has been looked at already. Nothing is linked but build scripts,
    # which use no CUDA. A build with another compiler makes the kernels anew, since NVCC is another.
    HEIRLOOM_NVCC=check cargo clippy --features cuda -- -D warnings
    ;;
ptxas)
    toolkit
    status=0
    for kernel in src/ops/cuda/kernels/*.cu; do
        name=$(basename "$kernel" .cu)
        case $kernel in
        *_hopper.cu) virtual=compute_90a real=90a ;;
        *) virtual=compute_80 real='80 86 89 90 100 120' ;;
        esac
        if ! "$CUDA_HOME/bin/nvcc" -std=c++17 -arch="$virtual" --ptx -o "$work/$name.ptx" "$kernel"; then
            echo "FAIL $name.cu: not compiled"
            status=1
            continue
        fi
        for one in $real; do
            if ! "$CUDA_HOME/bin/ptxas" -arch="sm_$one" -v -o "$work/$name.$one.cubin" "$work/$name.ptx" >"$work/$name.$one.log" 2>&1; then
                echo "FAIL $name.cu, sm_$one: not assembled"
                cat "$work/$name.$one.log"
                status=1
            fi
            python3 "$here/ptxas_report.py" "$name.cu, sm_$one" <"$work/$name.$one.log" || status=1
        done
    done
    exit $status
    ;;
emulate)
    few=${2:-}
    objects=$work/emulate${few:+-few}
    mkdir -p "$objects"
    flags=(-std=c++17 -fno-strict-aliasing -fno-extern-tls-init -Wno-unknown-pragmas -pthread -I "$here/emulate")
    if [ -n "$few" ]; then flags+=(-O1); else flags+=(-O2 -fsanitize=address,alignment -fno-sanitize-recover=all); fi
    compilers=()
    for source in "$here"/emulate/*.cpp; do
        g++ "${flags[@]}" -c -o "$objects/$(basename "$source" .cpp).o" "$source" &
        compilers+=($!)
    done
    for compiler in "${compilers[@]}"; do wait "$compiler"; done
    g++ "${flags[@]}" -o "$objects/emulate" "$objects"/*.o
    shift
    "$objects/emulate" "$@"
    ;;
*)
    echo "unknown: $what (build, check, ptxas, emulate)" >&2
    exit 2
    ;;
esac
