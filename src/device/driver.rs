//! Queries the NVIDIA driver for its version and its GPUs. Its library is opened at run time, so that one program
//! starts with and without it (CUDA Driver API reference, <https://docs.nvidia.com/cuda/cuda-driver-api/>).

use std::error::Error as _;
use std::ffi::{CStr, c_char, c_int, c_uint};
use std::fmt;
use std::sync::OnceLock;

use libloading::Library;
use thiserror::Error;

/// The version of CUDA that a driver must support (12.0: driver 525), in NVIDIA's way of counting: that of the oldest cuBLAS
/// which this program opens (`scripts/cuda/lazy_libraries.py`). The kernels ask for no more: their PTX is of version 8.0 at most
/// (`build/ptx.rs`).
const CUDA: i32 = 12_000;

/// The first driver that supports [`CUDA`].
const DRIVER: u32 = 525;

/// The least compute capability that the kernels are made for.
pub const CAPABILITY: Capability = Capability { major: 8, minor: 0 };

/// A GPU's compute capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capability {
    pub major: i32,
    pub minor: i32,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A GPU that the driver reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    pub name: String,
    /// Whether its compute mode forbids its use.
    pub prohibited: bool,
    pub capability: Capability,
}

/// Why the driver has no GPUs to offer.
#[derive(Debug, Error)]
pub enum DriverError {
    #[error("no NVIDIA driver was found ({0})")]
    Missing(String),
    #[error("the NVIDIA driver lacks {0}: it is too old or damaged")]
    Damaged(&'static str),
    #[error(
        "the NVIDIA driver is too old: it supports CUDA {}, and the oldest cuBLAS that this program computes with needs {} (driver {} or newer; nvidia-smi shows which one is installed)",
        version(*.0), version(CUDA), DRIVER
    )]
    TooOld(i32),
    #[error("the NVIDIA driver finds no GPU{0}")]
    NoGpu(String),
    #[error("the NVIDIA driver reports {name} (error {code}){hint}")]
    Refused {
        code: i32,
        name: String,
        hint: &'static str,
    },
}

fn version(number: i32) -> String {
    format!("{}.{}", number / 1000, number % 1000 / 10)
}

const NO_DEVICE: c_int = 100;
const ATTRIBUTE_COMPUTE_MODE: c_int = 20;
const ATTRIBUTE_CAPABILITY_MAJOR: c_int = 75;
const ATTRIBUTE_CAPABILITY_MINOR: c_int = 76;
const MODE_PROHIBITED: c_int = 2;

/// Returns the GPUs of this machine that are visible to this process (`CUDA_VISIBLE_DEVICES`).
///
/// # Errors
/// When the driver is missing or too old, returns an error, or finds no visible GPU.
pub fn gpus() -> Result<Vec<Gpu>, DriverError> {
    let driver = Driver::open()?;
    // SAFETY (of this function): the functions have these types in every version of the driver's library; pointers are
    // to places of the right size that live through the call.
    let number = unsafe {
        let mut number: c_int = 0;
        let get: unsafe extern "C" fn(*mut c_int) -> c_int =
            driver.function("cuDriverGetVersion")?;
        driver.check(get(&mut number))?;
        number
    };
    if number < CUDA {
        return Err(DriverError::TooOld(number));
    }
    // SAFETY: as above.
    unsafe {
        let init: unsafe extern "C" fn(c_uint) -> c_int = driver.function("cuInit")?;
        driver.check(init(0))?;
        let get: unsafe extern "C" fn(*mut c_int) -> c_int = driver.function("cuDeviceGetCount")?;
        let mut count: c_int = 0;
        driver.check(get(&mut count))?;
        if count <= 0 {
            return Err(no_gpu());
        }
        (0..count).map(|index| driver.gpu(index)).collect()
    }
}

fn no_gpu() -> DriverError {
    let hidden = std::env::var("CUDA_VISIBLE_DEVICES");
    DriverError::NoGpu(match hidden {
        Ok(value) => format!(" (CUDA_VISIBLE_DEVICES is {value:?})"),
        Err(_) => String::new(),
    })
}

struct Driver(&'static Library);

impl Driver {
    fn open() -> Result<Self, DriverError> {
        // Never closed: the library has threads of its own.
        static OPENED: OnceLock<Library> = OnceLock::new();
        if let Some(library) = OPENED.get() {
            return Ok(Self(library));
        }
        // SAFETY: the driver's library has no conditions for being loaded.
        let library = unsafe { Library::new("libcuda.so.1") };
        let library = library.map_err(|error| {
            let why = error.source().map(ToString::to_string);
            DriverError::Missing(why.unwrap_or_else(|| error.to_string()))
        })?;
        Ok(Self(OPENED.get_or_init(|| library)))
    }

    /// # Safety
    /// `F` must be the function's type.
    unsafe fn function<F: Copy>(&self, name: &'static str) -> Result<F, DriverError> {
        // SAFETY: forwarded to the caller.
        let found = unsafe { self.0.get::<F>(name.as_bytes()) };
        found.map(|f| *f).map_err(|_| DriverError::Damaged(name))
    }

    fn check(&self, code: c_int) -> Result<(), DriverError> {
        let hint = match code {
            0 => return Ok(()),
            NO_DEVICE => return Err(no_gpu()),
            2 => ": its memory is full",
            46 => ": another process uses it exclusively",
            802 => ": NVSwitch's fabric manager is not running",
            803 => {
                ": its library and its kernel module differ; restart the machine or reload the module"
            }
            999 => "; see nvidia-smi and the kernel's log (dmesg)",
            _ => "",
        };
        Err(DriverError::Refused {
            code,
            name: self.error_name(code),
            hint,
        })
    }

    fn error_name(&self, code: c_int) -> String {
        type ErrorName = unsafe extern "C" fn(c_int, *mut *const c_char) -> c_int;
        let mut name: *const c_char = std::ptr::null();
        // SAFETY: as in `gpus`; the name is a text that is never freed.
        unsafe {
            match self.function::<ErrorName>("cuGetErrorName") {
                Ok(get) if get(code, &mut name) == 0 && !name.is_null() => {
                    CStr::from_ptr(name).to_string_lossy().into_owned()
                }
                _ => "an error".into(),
            }
        }
    }

    /// # Safety
    /// As in [`gpus`], after `cuInit`.
    unsafe fn gpu(&self, index: c_int) -> Result<Gpu, DriverError> {
        type Name = unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int;
        type Attribute = unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int;
        type Get = unsafe extern "C" fn(*mut c_int, c_int) -> c_int;
        let (mut device, mut name) = (0, [0u8; 256]);
        // SAFETY: forwarded to the caller.
        unsafe {
            self.check(self.function::<Get>("cuDeviceGet")?(&mut device, index))?;
            let get = self.function::<Name>("cuDeviceGetName")?;
            // One byte less than the buffer has, so that the last one stays zero.
            let room = name.len() as c_int - 1;
            self.check(get(name.as_mut_ptr().cast(), room, device))?;
            let get = self.function::<Attribute>("cuDeviceGetAttribute")?;
            let attribute = |which| {
                let mut value = 0;
                self.check(get(&mut value, which, device)).map(|()| value)
            };
            let name = CStr::from_bytes_until_nul(&name).unwrap_or_default();
            Ok(Gpu {
                name: name.to_string_lossy().into_owned(),
                prohibited: attribute(ATTRIBUTE_COMPUTE_MODE)? == MODE_PROHIBITED,
                capability: Capability {
                    major: attribute(ATTRIBUTE_CAPABILITY_MAJOR)?,
                    minor: attribute(ATTRIBUTE_CAPABILITY_MINOR)?,
                },
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_driver_is_named_with_what_is_needed() {
        let error = DriverError::TooOld(11_080).to_string();
        assert!(error.contains("it supports CUDA 11.8"), "{error}");
        assert!(error.contains("needs 12.0 (driver 525"), "{error}");
    }

    #[test]
    fn capabilities_are_ordered_as_nvidia_counts() {
        let of = |major, minor| Capability { major, minor };
        for old in [of(5, 2), of(7, 0), of(7, 5)] {
            assert!(old < CAPABILITY, "{old}");
        }
        for new in [of(8, 0), of(8, 6), of(8, 9), of(9, 0), of(10, 0), of(12, 0)] {
            assert!(new >= CAPABILITY, "{new}");
        }
        assert_eq!(of(12, 1).to_string(), "12.1");
    }
}
