//! State of a GPU that is kept between ops: the stream, the loaded kernels, cuBLASLt, scratch memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaModule, CudaSlice, CudaStream, DevicePtr, LaunchConfig, PushKernelArg,
    result, sys,
};
use candle_core::cuda_backend::{CudaDevice, DeviceId};
use candle_core::{Device, Result, Tensor, bail};

use super::Address;
use super::cublas::CublasLt;
use super::driver_error::driver;
use super::staging::Staging;
use crate::ops::shared_memory::SharedMemory;

/// The kernels, as PTX, by file.
const FILES: [&str; 11] = [
    include_str!(concat!(env!("OUT_DIR"), "/attention.ptx")),
    include_str!(concat!(env!("OUT_DIR"), "/attention_plain.ptx")),
    include_str!(concat!(env!("OUT_DIR"), "/bias.ptx")),
    include_str!(concat!(env!("OUT_DIR"), "/distillation.ptx")),
    include_str!(concat!(env!("OUT_DIR"), "/elementwise.ptx")),
    include_str!(concat!(env!("OUT_DIR"), "/embedding.ptx")),
    include_str!(concat!(env!("OUT_DIR"), "/head.ptx")),
    include_str!(concat!(env!("OUT_DIR"), "/muon.ptx")),
    include_str!(concat!(env!("OUT_DIR"), "/norm.ptx")),
    include_str!(concat!(env!("OUT_DIR"), "/optimizer.ptx")),
    include_str!(concat!(env!("OUT_DIR"), "/reduce.ptx")),
];

/// Kernels for compute capability 9.0 alone.
const HOPPER: &str = include_str!(concat!(env!("OUT_DIR"), "/attention_hopper.ptx"));

/// Threads of a block where nothing asks for another number.
pub const THREADS: u32 = 256;

/// One GPU.
pub struct Gpu {
    pub stream: Arc<CudaStream>,
    modules: Vec<Arc<CudaModule>>,
    functions: Mutex<HashMap<String, Function>>,
    pub products: Mutex<CublasLt>,
    /// Memory for partial sums, as large as the largest need so far.
    scratch: Mutex<Option<CudaSlice<u8>>>,
    staging: Mutex<Staging>,
    /// Multiprocessors.
    pub processors: u32,
    /// Whether it has the kernels of compute capability 9.0.
    pub hopper: bool,
}

/// A loaded kernel.
struct Function {
    kernel: CudaFunction,
    /// Bytes of dynamic shared memory that it may use.
    shared: SharedMemory,
}

static GPUS: OnceLock<Mutex<HashMap<DeviceId, Arc<Gpu>>>> = OnceLock::new();

/// A lock whose holder panicked guards nothing half-done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gpu {
    /// The GPU that a tensor lies on.
    pub fn of(t: &Tensor) -> Result<Arc<Self>> {
        Self::on(t.device())
    }

    pub fn on(device: &Device) -> Result<Arc<Self>> {
        let Device::Cuda(device) = device else {
            bail!("a GPU's operation was asked for on the CPU")
        };
        let mut gpus = lock(GPUS.get_or_init(Mutex::default));
        if let Some(gpu) = gpus.get(&device.id()) {
            return Ok(gpu.clone());
        }
        let gpu = Arc::new(Self::new(device)?);
        gpus.insert(device.id(), gpu.clone());
        Ok(gpu)
    }

    fn new(device: &CudaDevice) -> Result<Self> {
        let stream = device.cuda_stream();
        let context = stream.context();
        let load = |ptx: &&str| {
            if ptx.trim().is_empty() {
                bail!(
                    "this program was built without its GPU kernels; how to build it: docs/gpu.md"
                )
            }
            context.load_module((*ptx).into()).map_err(driver)
        };
        use sys::CUdevice_attribute as Which;
        let attribute = |which| context.attribute(which).map_err(driver);
        let count = attribute(Which::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
        let capability = (
            attribute(Which::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(Which::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        );
        // `HEIRLOOM_ATTENTION=mma` selects the general kernels, so that they can be checked and timed on a Hopper GPU.
        let general = std::env::var_os("HEIRLOOM_ATTENTION").is_some_and(|v| v == "mma");
        let hopper = capability == (9, 0) && !general;
        let files = FILES.iter().chain(hopper.then_some(&HOPPER));
        keep_freed(pool(&stream));
        Ok(Self {
            modules: files.map(load).collect::<Result<_>>()?,
            hopper,
            functions: Mutex::default(),
            products: Mutex::new(CublasLt::new(&stream)?),
            scratch: Mutex::default(),
            staging: Mutex::new(Staging::new(stream.clone())),
            processors: u32::try_from(count).unwrap_or(1),
            stream,
        })
    }

    /// A kernel that may use `shared` bytes of dynamic shared memory.
    fn function(&self, name: &str, shared: u32) -> Result<CudaFunction> {
        let mut functions = lock(&self.functions);
        if !functions.contains_key(name) {
            let mut found = self.modules.iter().map(|m| m.load_function(name));
            let Some(kernel) = found.find_map(std::result::Result::ok) else {
                bail!("the program has no kernel named {name}")
            };
            let shared = SharedMemory::default();
            functions.insert(name.to_string(), Function { kernel, shared });
        }
        let Some(function) = functions.get_mut(name) else {
            bail!("the program has no kernel named {name}")
        };
        function.shared.grow(shared, |bytes| {
            let most = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
            function.kernel.set_attribute(most, bytes).map_err(driver)
        })?;
        Ok(function.kernel.clone())
    }

    /// Queues a kernel.
    ///
    /// # Safety
    /// The arguments must be what the kernel takes, and its memory must be there.
    pub unsafe fn launch(&self, name: &str, shape: Launch, args: &[Arg]) -> Result<()> {
        let f = self.function(name, shape.shared)?;
        let mut launch = self.stream.launch_builder(&f);
        for arg in args {
            match arg {
                Arg::At(v) => launch.arg(v),
                Arg::Int(v) => launch.arg(v),
                Arg::Count(v) => launch.arg(v),
                Arg::Float(v) => launch.arg(v),
                Arg::Attention(v) => launch.arg(v),
            };
        }
        let config = LaunchConfig {
            grid_dim: shape.grid,
            block_dim: shape.block,
            shared_mem_bytes: shape.shared,
        };
        // SAFETY: as the caller guarantees.
        unsafe { launch.launch(config) }.map_err(driver)?;
        Ok(())
    }

    /// Returns at least `bytes` of scratch memory. Work that is queued after this call may use it until the work after the next call
    /// begins.
    pub fn scratch(&self, bytes: usize) -> Result<Address> {
        let mut scratch = lock(&self.scratch);
        if scratch.as_ref().is_none_or(|s| s.len() < bytes) {
            *scratch = None;
            // SAFETY: partial sums are written before they are read.
            *scratch = Some(
                unsafe { self.stream.alloc::<u8>(bytes.next_power_of_two()) }.map_err(driver)?,
            );
        }
        match scratch.as_ref() {
            Some(s) => Ok(s.device_ptr(&self.stream).0),
            None => bail!("no scratch memory"),
        }
    }

    /// Returns the address of the scratch memory, if there is any; it changes when more is needed.
    pub fn scratch_place(&self) -> Option<Address> {
        let scratch = lock(&self.scratch);
        scratch.as_ref().map(|s| s.device_ptr(&self.stream).0)
    }

    /// Copies bytes to the GPU. The source may change as soon as this returns.
    ///
    /// # Safety
    /// `to` must have room for them.
    pub unsafe fn upload<T: Copy>(&self, to: Address, values: &[T]) -> Result<()> {
        self.stream.context().bind_to_thread().map_err(driver)?;
        // SAFETY: the bytes of values that are plain numbers, or structures of such without gaps.
        let bytes =
            unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) };
        // SAFETY: as the caller guarantees.
        if unsafe { lock(&self.staging).upload(to, bytes) }? {
            return Ok(());
        }
        // SAFETY: memory that is not pinned is copied before the call returns.
        unsafe { result::memcpy_htod_async(to, values, self.stream.cu_stream()) }.map_err(driver)
    }

    /// Copies bytes from the GPU, after everything queued so far.
    ///
    /// # Safety
    /// `from` must hold as many values of this type.
    pub unsafe fn download<T>(&self, into: &mut [T], from: Address) -> Result<()> {
        self.stream.context().bind_to_thread().map_err(driver)?;
        // SAFETY: as the caller guarantees; waited for before `into` is used.
        unsafe { result::memcpy_dtoh_async(into, from, self.stream.cu_stream()) }
            .map_err(driver)?;
        self.stream.synchronize().map_err(driver)
    }

    /// # Safety
    /// `to` must have `bytes` bytes.
    pub unsafe fn clear(&self, to: Address, bytes: usize) -> Result<()> {
        self.stream.context().bind_to_thread().map_err(driver)?;
        // SAFETY: as the caller guarantees.
        unsafe { result::memset_d8_async(to, 0, bytes, self.stream.cu_stream()) }.map_err(driver)
    }
}

/// Waits for all that is queued.
pub fn synchronize(device: &Device) -> Result<()> {
    Gpu::on(device)?.stream.synchronize().map_err(driver)
}

/// The identity of a GPU.
pub fn uuid(device: &Device) -> Result<[u8; 16]> {
    let gpu = Gpu::on(device)?;
    let uuid = result::device::get_uuid(gpu.stream.context().cu_device()).map_err(driver)?;
    Ok(uuid.bytes.map(|b| b as u8))
}

/// The pool that a GPU's memory comes from; `None` where the driver has none (some virtual GPUs, WSL).
fn pool(stream: &CudaStream) -> Option<sys::CUmemoryPool> {
    let context = stream.context();
    let supported = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED;
    if !matches!(context.attribute(supported), Ok(1..)) {
        return None;
    }
    // SAFETY: the context's own device.
    unsafe { result::device::get_default_mem_pool(context.cu_device()) }.ok()
}

/// Lets a pool keep what is freed. Without that, it unmaps freed memory whenever the stream is waited for, which is once a step.
/// A driver that refuses is only slower.
fn keep_freed(pool: Option<sys::CUmemoryPool>) {
    let Some(pool) = pool else { return };
    let which = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    let mut most = u64::MAX;
    let value = std::ptr::from_mut(&mut most).cast();
    // SAFETY: the attribute is a 64-bit number.
    let _ = unsafe { result::mem_pool::set_attribute(pool, which, value) };
}

/// Bytes of a GPU's memory.
#[derive(Debug, Clone, Copy)]
pub struct MemoryUse {
    pub free: u64,
    pub total: u64,
    /// Most that this process has had allocated at a time; `None` where the driver does not count it.
    pub peak: Option<u64>,
}

/// Asks the driver for the GPU's memory in use, after everything queued so far. Freed memory is given back first.
///
/// # Errors
/// When the driver cannot be asked.
pub fn memory_in_use(device: &Device) -> Result<MemoryUse> {
    let gpu = Gpu::on(device)?;
    let pool = pool(&gpu.stream);
    if let Some(pool) = pool {
        gpu.stream.synchronize().map_err(driver)?;
        // SAFETY: the device's own pool. Memory that it does not give back does not count as free, which errs on the safe side.
        let _ = unsafe { result::mem_pool::trim_to(pool, 0) };
    }
    let (free, total) = gpu.stream.context().mem_get_info().map_err(driver)?;
    let peak = pool.and_then(|pool| {
        let mut peak = 0u64;
        let which = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH;
        let into = std::ptr::from_mut(&mut peak).cast();
        // SAFETY: the attribute is a 64-bit number.
        unsafe { result::mem_pool::get_attribute(pool, which, into) }.ok()?;
        Some(peak)
    });
    Ok(MemoryUse {
        free: free as u64,
        total: total as u64,
        peak,
    })
}

/// Whether this GPU computes attention with the kernels of compute capability 9.0.
///
/// # Errors
/// When the device is not a GPU.
pub fn is_hopper(device: &Device) -> Result<bool> {
    Ok(Gpu::on(device)?.hopper)
}

/// A kernel's grid, block and dynamic shared memory.
#[derive(Debug, Clone, Copy)]
pub struct Launch {
    pub grid: (u32, u32, u32),
    pub block: (u32, u32, u32),
    pub shared: u32,
}

impl Launch {
    pub fn blocks(n: usize, threads: u32) -> Self {
        Self {
            grid: (u32::try_from(n).unwrap_or(u32::MAX), 1, 1),
            block: (threads, 1, 1),
            shared: 0,
        }
    }

    /// Returns the shape for kernels whose threads take four elements at a time, and then the next four a grid's width further on.
    pub fn elements(gpu: &Gpu, n: usize) -> Self {
        let need = n.div_ceil(4 * THREADS as usize).max(1);
        Self::blocks(need.min(16 * gpu.processors as usize), THREADS)
    }
}

/// An argument of a kernel.
#[derive(Debug, Clone, Copy)]
pub enum Arg {
    At(Address),
    Int(i32),
    Count(i64),
    Float(f32),
    Attention(Sizes),
}

/// `Shape` of the attention kernels.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Sizes {
    pub time: i32,
    pub n_head: i32,
    pub n_kv_head: i32,
    pub scale: f32,
}

// SAFETY: the same fields in the same order as the kernels' `Shape`.
unsafe impl candle_core::cuda_backend::cudarc::driver::DeviceRepr for Sizes {}
