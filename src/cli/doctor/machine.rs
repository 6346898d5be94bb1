//! Checks CPU, memory, GPUs, and the libraries for runs of several processes.

use std::thread::available_parallelism;

use candle_core::Device;

use super::finding::Finding;
use crate::device::{self, memory};
use crate::ops::{self, Bf16Products, EMULATED, PrecisionChoice};
use crate::text;

/// Libraries of MPI: Open MPI 4 and 5, MPICH and its relatives (Intel MPI, Cray), any other.
const MPI: [&str; 3] = ["libmpi.so.40", "libmpi.so.12", "libmpi.so"];
const NCCL: [&str; 1] = ["libnccl.so.2"];
/// Libraries of CUDA 13 and 12.
const CUBLAS: [&str; 2] = ["libcublasLt.so.13", "libcublasLt.so.12"];
const LAUNCHERS: [&str; 4] = ["mpirun", "mpiexec", "srun", "torchrun"];

/// Memory below which there is a warning: that of the smallest preset, with room for the system.
const LITTLE_MEMORY: u64 = 1 << 30;

/// Checks this machine's hardware and libraries.
pub fn check() -> Vec<Finding> {
    let mut all = vec![cpu(), precision(), room(memory::available())];
    all.extend(gpus());
    all.push(mpi());
    all.push(nccl());
    all
}

fn cpu() -> Finding {
    let cores = available_parallelism().map_or(1, usize::from);
    Finding::ok(
        "cpu",
        format!(
            "{}, loops compiled for {}",
            text::plural(cores, "core"),
            ops::vectors()
        ),
    )
}

/// Reports the kernels of matrix products, and what `train.dtype = "auto"` means with them.
fn precision() -> Finding {
    let products = Bf16Products::of(&Device::Cpu);
    let auto = PrecisionChoice::Auto.resolve(products);
    let found = format!(
        "bf16 products by {}; train.dtype = \"auto\" is {} on the CPU",
        ops::unit(),
        auto.precision.name()
    );
    match products {
        Bf16Products::Emulated => Finding::ok("kernels", found).with_advice(format!(
            "this CPU has no bf16 instructions (AMX, AVX512-BF16); emulated bf16 is {EMULATED}"
        )),
        _ => Finding::ok("kernels", found),
    }
}

fn room(available: Option<u64>) -> Finding {
    let Some(bytes) = available else {
        return Finding::ok("memory", "unknown on this system");
    };
    let found = format!("{:.1} GB available", bytes as f64 / 1e9);
    match bytes < LITTLE_MEMORY {
        true => Finding::warn(
            "memory",
            found,
            "`heirloom train CONFIG --dry-run` prints what a training needs",
        ),
        false => Finding::ok("memory", found),
    }
}

/// Reports each GPU, or the reason why none can be used.
fn gpus() -> Vec<Finding> {
    let gpus = match device::gpus() {
        Ok(gpus) => gpus,
        Err(device::DriverError::Missing(_)) => {
            return vec![Finding::ok(
                "gpu",
                "no NVIDIA driver: training runs on the CPU",
            )];
        }
        Err(error) => {
            return vec![Finding::warn(
                "gpu",
                error.to_string(),
                "training runs on the CPU until this is solved; docs/gpu.md lists what is needed",
            )];
        }
    };
    let mut all: Vec<Finding> = gpus
        .iter()
        .enumerate()
        .map(|(index, gpu)| {
            let found = format!(
                "cuda:{index} {}, compute capability {}",
                gpu.name, gpu.capability
            );
            if gpu.capability < device::CAPABILITY {
                let advice = format!(
                    "the kernels need compute capability {} or later",
                    device::CAPABILITY
                );
                Finding::warn("gpu", found, advice)
            } else if gpu.prohibited {
                Finding::warn(
                    "gpu",
                    format!("{found}, compute mode \"prohibited\""),
                    "nvidia-smi -c DEFAULT",
                )
            } else if cfg!(not(feature = "cuda")) {
                Finding::warn(
                    "gpu",
                    format!("{found}: not used, this program was built for the CPU"),
                    "scripts/cuda/build.sh builds it for GPUs (docs/gpu.md)",
                )
            } else {
                Finding::ok("gpu", found)
            }
        })
        .collect();
    if cfg!(feature = "cuda") {
        all.push(match device::first_library(&CUBLAS) {
            Some(name) => Finding::ok("cublas", name),
            None => Finding::warn(
                "cublas",
                "no cuBLAS of CUDA 12 or 13",
                "install the CUDA toolkit or PyTorch, and name the directory in LD_LIBRARY_PATH",
            ),
        });
    }
    all
}

fn mpi() -> Finding {
    let launchers: Vec<&str> = LAUNCHERS.into_iter().filter(|name| in_path(name)).collect();
    let launchers = match launchers.is_empty() {
        true => "no launcher (mpirun, srun)".to_string(),
        false => launchers.join(", "),
    };
    match device::first_library(&MPI) {
        Some(name) => Finding::ok("mpi", format!("{name}, {launchers}")),
        None => Finding::ok("mpi", format!("no library, {launchers}"))
            .with_advice("needed only to train one model with many processes"),
    }
}

fn nccl() -> Finding {
    match device::first_library(&NCCL) {
        Some(name) => Finding::ok("nccl", name),
        None => Finding::ok("nccl", "no library")
            .with_advice("needed only to train one model on several GPUs"),
    }
}

/// Whether a program of this name is in PATH.
fn in_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn little_memory_is_warned_about() {
        assert_eq!(room(Some(500 << 20)).level(), Level::Warn);
        assert_eq!(room(Some(8 << 30)).level(), Level::Ok);
        assert_eq!(room(None).level(), Level::Ok);
    }
}
