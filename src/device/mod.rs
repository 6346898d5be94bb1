//! Chooses the device to compute on: `--device auto|cpu|cuda[:N]`.
//!
//! This folder does not depend on models. Of runs it uses only the type of a GPU's readings.

mod driver;
mod libraries;
pub mod memory;
#[cfg(feature = "cuda")]
mod monitor;

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use candle_core::Device;
use thiserror::Error;

#[cfg(not(feature = "cuda"))]
use crate::run::GpuStats;

pub use driver::{CAPABILITY, Capability, DriverError, Gpu, gpus};
pub use libraries::first_library;
#[cfg(feature = "cuda")]
pub use monitor::Monitor;

/// Stands in for the monitor of a GPU in a program built without CUDA, which reads nothing.
#[cfg(not(feature = "cuda"))]
pub struct Monitor;

#[cfg(not(feature = "cuda"))]
impl Monitor {
    /// Returns `None`.
    pub fn reading(&mut self) -> Option<GpuStats> {
        None
    }
}

/// Returns a monitor of `device`, if it is a GPU and its load can be read.
pub fn monitor(device: &Device) -> Option<Monitor> {
    #[cfg(feature = "cuda")]
    if device.is_cuda() {
        return Monitor::open(crate::ops::cuda::uuid(device).ok()?);
    }
    let _ = device;
    None
}

/// Returns the name and version of the library that computes `device`'s products; `None` on a CPU.
pub fn library(device: &Device) -> Option<String> {
    #[cfg(feature = "cuda")]
    if device.is_cuda() {
        return Some(crate::ops::cuda::products_library());
    }
    let _ = device;
    None
}

/// The device that the user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// The best available device.
    #[default]
    Auto,
    Cpu,
    /// The GPU with this number in the driver's count.
    Cuda(usize),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |n: &str| {
            n.parse()
                .ok()
                .filter(|_| n.bytes().all(|b| b.is_ascii_digit()))
        };
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => match text.strip_prefix("cuda:").and_then(number) {
                Some(n) => Ok(Self::Cuda(n)),
                None => Err("use auto, cpu, cuda or cuda:N with a GPU's number".into()),
            },
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

/// Why a requested GPU cannot be used.
#[derive(Debug, Error)]
pub enum DeviceError {
    #[error("{0}")]
    Driver(#[from] DriverError),
    #[error("this machine has {}, counted from cuda:0", count(*.there))]
    NoSuchGpu { there: usize },
    #[error(
        "{name} takes no work: its compute mode is \"prohibited\" (nvidia-smi -c DEFAULT changes it)"
    )]
    Prohibited { name: String },
    #[error(
        "{name} cannot be used: its compute capability is {capability}, and the kernels need {CAPABILITY} (Ampere: A100, A10, RTX 30) or later"
    )]
    TooOld {
        name: String,
        capability: Capability,
    },
    #[error(
        "{name} is there, but this program was built without the feature `cuda` (how to build with it: docs/gpu.md)"
    )]
    CpuOnly { name: String },
    #[error("{name} cannot be used: {why}")]
    Refused { name: String, why: String },
}

/// Counts GPUs in words: `one GPU`, `8 GPUs`.
pub fn count(gpus: usize) -> String {
    match gpus {
        1 => "one GPU".into(),
        n => format!("{n} GPUs"),
    }
}

/// A device to compute on.
#[derive(Debug)]
pub struct Chosen {
    pub device: Device,
    /// `cpu`, or the GPU's number and name.
    pub name: String,
    /// A remark on the choice, if any.
    pub note: Option<String>,
}

impl Choice {
    /// Opens the chosen device.
    ///
    /// # Errors
    /// When a GPU is requested by name and cannot be used.
    pub fn open(self) -> Result<Chosen, DeviceError> {
        match self {
            Self::Cpu => Ok(cpu(None)),
            Self::Auto => Ok(best()),
            Self::Cuda(index) => gpu(index),
        }
    }
}

/// Opens the first GPU if this program can use one, else the CPU.
fn best() -> Chosen {
    let installed = installed_gpu(Path::new("/proc/driver/nvidia/gpus"));
    if cfg!(not(feature = "cuda")) {
        return cpu(installed.map(|name| {
            format!(
                "{name} is not used: this program was built without the feature `cuda` (how to build with it: docs/gpu.md)"
            )
        }));
    }
    gpu(0).unwrap_or_else(|error| cpu(Some(format!("computing on the CPU: {error}"))))
}

fn cpu(note: Option<String>) -> Chosen {
    Chosen {
        device: Device::Cpu,
        name: "cpu".into(),
        note,
    }
}

/// Opens the GPU with this number.
fn gpu(index: usize) -> Result<Chosen, DeviceError> {
    let mut gpus = gpus()?;
    if index >= gpus.len() {
        return Err(DeviceError::NoSuchGpu { there: gpus.len() });
    }
    let Gpu {
        name,
        prohibited,
        capability,
    } = gpus.swap_remove(index);
    if prohibited {
        return Err(DeviceError::Prohibited { name });
    }
    if capability < CAPABILITY {
        return Err(DeviceError::TooOld { name, capability });
    }
    Ok(Chosen {
        name: format!("cuda:{index} {name}"),
        device: opened(index, name)?,
        note: None,
    })
}

#[cfg(not(feature = "cuda"))]
fn opened(_: usize, name: String) -> Result<Device, DeviceError> {
    Err(DeviceError::CpuOnly { name })
}

#[cfg(feature = "cuda")]
fn opened(index: usize, name: String) -> Result<Device, DeviceError> {
    use std::collections::HashMap;
    use std::sync::{Mutex, PoisonError};
    // Exchanges between ranks use the GPU's one stream: opening a GPU again returns the same device.
    static OPENED: Mutex<Option<HashMap<usize, Device>>> = Mutex::new(None);
    let mut all = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    let all = all.get_or_insert_default();
    if let Some(device) = all.get(&index) {
        return Ok(device.clone());
    }
    let open = || {
        let device = Device::new_cuda_with_stream(index)?;
        // SAFETY: everything on this device is queued on its one stream, in order.
        unsafe { device.as_cuda_device()?.disable_event_tracking() };
        // Loads the kernels, so that an error occurs here instead of at the first step.
        crate::ops::cuda::synchronize(&device)?;
        Ok(device)
    };
    let device = open().map_err(|e: candle_core::Error| DeviceError::Refused {
        name,
        why: plain(&e.to_string()),
    })?;
    all.insert(index, device.clone());
    Ok(device)
}

/// Describes an error of CUDA's libraries.
#[cfg(any(feature = "cuda", test))]
fn plain(error: &str) -> String {
    // Only the first line, because a backtrace may follow.
    let error = error.lines().next().unwrap_or_default();
    let cause = |words: &str| format!("{words} ({error})");
    match error {
        e if e.contains("OUT_OF_MEMORY") => cause("its memory is used by other processes"),
        e if e.contains("DEVICE_UNAVAILABLE") => cause("another process uses it exclusively"),
        e if e.contains("CUBLAS_STATUS_NOT_INITIALIZED") || e.contains("CURAND") => cause(
            "libcublas, libcublasLt or libcurand of CUDA 12 or 13 (drivers before 580: of 12) is not found or does not start; they come with CUDA and with PyTorch, and LD_LIBRARY_PATH names their directory",
        ),
        _ => error.to_string(),
    }
}

/// Returns the first GPU that the kernel's driver lists under `directory`. Asking the driver's library may take seconds.
fn installed_gpu(directory: &Path) -> Option<String> {
    let gpus = std::fs::read_dir(directory).ok()?;
    let mut names: Vec<String> = gpus
        .filter_map(|gpu| std::fs::read_to_string(gpu.ok()?.path().join("information")).ok())
        .filter_map(|text| {
            let model = text.lines().find_map(|line| line.strip_prefix("Model:"))?;
            Some(model.trim().to_string())
        })
        .collect();
    names.sort();
    names.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read() {
        for (text, choice) in [
            ("auto", Choice::Auto),
            ("cpu", Choice::Cpu),
            ("cuda", Choice::Cuda(0)),
            ("cuda:0", Choice::Cuda(0)),
            ("cuda:13", Choice::Cuda(13)),
        ] {
            assert_eq!(text.parse(), Ok(choice));
        }
        for text in [
            "", "gpu", "cuda:", "cuda:+1", "cuda:-1", "cuda:x", "CUDA", "cpu ",
        ] {
            assert!(text.parse::<Choice>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn errors_of_cudas_libraries_are_told_in_words() {
        let busy = plain("DriverError(CUDA_ERROR_DEVICE_UNAVAILABLE, \"busy\")\n   0: main\n");
        assert!(
            busy.starts_with("another process uses it exclusively ("),
            "{busy}"
        );
        assert!(!busy.contains('\n'), "{busy}");
        let full = plain("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")");
        assert!(
            full.starts_with("its memory is used by other processes"),
            "{full}"
        );
        let blas = plain("CublasError(CUBLAS_STATUS_NOT_INITIALIZED)");
        assert!(blas.contains("LD_LIBRARY_PATH"), "{blas}");
        assert_eq!(plain("something else"), "something else");
    }

    #[test]
    fn a_gpu_is_found_where_the_kernel_lists_it() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(installed_gpu(&dir.path().join("none")), None);
        assert_eq!(installed_gpu(dir.path()), None);
        let gpu = dir.path().join("0000:18:00.0");
        std::fs::create_dir(&gpu).unwrap();
        assert_eq!(installed_gpu(dir.path()), None);
        let text = "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 45\n";
        std::fs::write(gpu.join("information"), text).unwrap();
        let name = installed_gpu(dir.path());
        assert_eq!(name.as_deref(), Some("NVIDIA H100 80GB HBM3"));
    }
}
