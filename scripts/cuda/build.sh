#!/usr/bin/env bash
# Builds heirloom for NVIDIA GPUs on a machine that needs neither a GPU nor CUDA (x86-64 Linux; Rust, gcc, Python 3 with pip).
#
#   scripts/cuda/build.sh            the program, target/cuda/release/heirloom: one that starts with and without a GPU
#   scripts/cuda/build.sh check      types and lints of the GPU's code, without NVIDIA's compiler; nothing that could run
#   scripts/cuda/build.sh ptxas      how NVIDIA's assembler sees the kernels: registers and spills, by kernel
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
    for kernel in src/ops/cuda/kernels/*.cu; do
        ptx=$work/$(basename "$kernel" .cu).ptx
        case $kernel in
        *_hopper.cu) virtual=compute_90a real=sm_90a ;;
        *) virtual=compute_80 real=sm_$CUDA_COMPUTE_CAP ;;
        esac
        "$CUDA_HOME/bin/nvcc" -std=c++17 -arch="$virtual" --ptx -o "$ptx" "$kernel"
        "$CUDA_HOME/bin/ptxas" -arch="$real" -v -o /dev/null "$ptx" 2>&1 |
            sed -n "s/.*Compiling entry function '\([^']*\)'.*/\1/p; s/^ptxas info *: Used/    used/p; /spill/p"
    done
    ;;
*)
    echo "unknown: $what (build, check, ptxas)" >&2
    exit 2
    ;;
esac
