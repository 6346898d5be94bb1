//! Borrowing the memory of candle tensors as slices, through candle's own in-place operation and its locks.

use candle_core::{
    CpuStorage, DType, Device, Error, InplaceOp1, Layout, Result, Shape, Storage, Tensor,
    WithDType, bail,
};
use std::cell::RefCell;
use std::ops::Deref;

use super::out_of_memory::{self, OutOfMemory};

/// A read lock on a tensor's storage.
pub struct Guard<'a, S> {
    storage: S,
    layout: &'a Layout,
}

/// Locks a tensor for reading.
pub fn guard(t: &Tensor) -> Guard<'_, impl Deref<Target = Storage> + '_> {
    let (storage, layout) = t.storage_and_layout();
    Guard { storage, layout }
}

impl<S: Deref<Target = Storage>> Guard<'_, S> {
    fn slice<T: WithDType>(&self) -> Result<&[T]> {
        let Storage::Cpu(storage) = &*self.storage else {
            bail!("this operation has no implementation for this device yet")
        };
        contiguous(storage.as_slice::<T>()?, self.layout)
    }
}

/// The slice behind an optional guard.
pub fn opt<'g, S: Deref<Target = Storage>>(
    guard: &'g Option<Guard<'_, S>>,
) -> Result<Option<&'g [f32]>> {
    guard.as_ref().map(Guard::slice).transpose()
}

fn contiguous<'s, T>(all: &'s [T], layout: &Layout) -> Result<&'s [T]> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&all[from..to]),
        None => bail!("operand is not contiguous: {layout:?}"),
    }
}

/// An in-place operation that lends the destination's slice to a closure once.
struct Lend<F>(RefCell<Option<F>>);

impl<F: FnOnce(&mut CpuStorage, &Layout) -> Result<()>> InplaceOp1 for Lend<F> {
    fn name(&self) -> &'static str {
        "heirloom-op"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        match self.0.borrow_mut().take() {
            Some(f) => f(storage, layout),
            None => bail!("an in-place operation ran twice"),
        }
    }
}

fn lend_mut<R>(t: &Tensor, f: impl FnOnce(&mut [f32]) -> Result<R>) -> Result<R> {
    let mut result = None;
    t.inplace_op1(&Lend(RefCell::new(Some(
        |storage: &mut CpuStorage, layout: &Layout| {
            let CpuStorage::F32(all) = storage else {
                return Err(Error::UnexpectedDType {
                    msg: "destination",
                    expected: DType::F32,
                    got: storage_dtype(storage),
                });
            };
            let Some((from, to)) = layout.contiguous_offsets() else {
                bail!("destination is not contiguous: {layout:?}")
            };
            result = Some(f(&mut all[from..to])?);
            Ok(())
        },
    ))))?;
    result.ok_or_else(|| Error::Msg("an in-place operation did not run".into()))
}

fn storage_dtype(storage: &CpuStorage) -> DType {
    match storage {
        CpuStorage::U32(_) => DType::U32,
        CpuStorage::F64(_) => DType::F64,
        CpuStorage::U8(_) => DType::U8,
        CpuStorage::I64(_) => DType::I64,
        CpuStorage::BF16(_) => DType::BF16,
        _ => DType::F16,
    }
}

/// Lends `D` destinations and `S` sources to `f`. A destination must not share storage with any other operand, because candle's lock would
/// then never be granted; this is checked first.
pub fn slices<const D: usize, const S: usize, R>(
    dst: [&Tensor; D],
    src: [&Tensor; S],
    f: impl FnOnce([&mut [f32]; D], [&[f32]; S]) -> Result<R>,
) -> Result<R> {
    check_distinct(&dst, &src)?;
    let guards = src.map(guard);
    let mut sources: [&[f32]; S] = [&[]; S];
    for (slice, guard) in sources.iter_mut().zip(&guards) {
        *slice = guard.slice()?;
    }
    lend_all(dst, |dst| f(dst, sources))
}

/// As [`slices`], with one more source of token ids.
pub fn slices_with_ids<const D: usize, const S: usize, R>(
    dst: [&Tensor; D],
    src: [&Tensor; S],
    ids: &Tensor,
    f: impl FnOnce([&mut [f32]; D], [&[f32]; S], &[u32]) -> Result<R>,
) -> Result<R> {
    let ids = guard(ids);
    slices(dst, src, |dst, src| f(dst, src, ids.slice()?))
}

/// The work that is done once all destinations are borrowed.
type WithSlices<'f, const D: usize, R> = Box<dyn FnOnce([&mut [f32]; D]) -> Result<R> + 'f>;

fn lend_all<const D: usize, R>(
    dst: [&Tensor; D],
    f: impl FnOnce([&mut [f32]; D]) -> Result<R>,
) -> Result<R> {
    fn go<const D: usize, R>(
        rest: &[&Tensor],
        taken: Vec<&mut [f32]>,
        f: WithSlices<'_, D, R>,
    ) -> Result<R> {
        match rest.split_first() {
            None => match <[&mut [f32]; D]>::try_from(taken) {
                Ok(dst) => f(dst),
                Err(_) => bail!("wrong number of destinations"),
            },
            Some((first, rest)) => lend_mut(first, |slice| {
                let mut longer: Vec<&mut [f32]> = Vec::with_capacity(D);
                longer.extend(taken);
                longer.push(slice);
                go(rest, longer, f)
            }),
        }
    }
    go(&dst, Vec::new(), Box::new(f))
}

fn check_distinct(dst: &[&Tensor], src: &[&Tensor]) -> Result<()> {
    for (i, d) in dst.iter().enumerate() {
        let mut others = dst[..i].iter().chain(src);
        if others.any(|t| address(t) == address(d)) {
            bail!("a destination shares its storage with another operand");
        }
    }
    Ok(())
}

/// Identifies a tensor's storage.
fn address(t: &Tensor) -> usize {
    let (storage, _) = t.storage_and_layout();
    std::ptr::from_ref::<Storage>(&storage).addr()
}

/// Bytes of a cache line, which vectors and tiles should not straddle.
const CACHE_LINE: usize = 64;

/// An f32 tensor of zeros that begins with a cache line. Memory that is never written to costs nothing on the CPU.
pub fn zeros(shape: impl Into<Shape>, device: &Device) -> Result<Tensor> {
    if device.is_cuda() {
        return zeros_of(shape, DType::F32, device);
    }
    let shape = shape.into();
    let spare = CACHE_LINE / size_of::<f32>();
    let flat = Tensor::from_vec(
        out_of_memory::zeros::<f32>(shape.elem_count() + spare)?,
        shape.elem_count() + spare,
        device,
    )?;
    let begin = guard(&flat).slice::<f32>()?.as_ptr();
    let skipped = begin.align_offset(CACHE_LINE).min(spare);
    flat.narrow(0, skipped, shape.elem_count())?.reshape(shape)
}

/// A tensor of zeros of f32, bf16 or u32.
///
/// # Errors
/// [`OutOfMemory`], and for other types.
pub fn zeros_of(shape: impl Into<Shape>, dtype: DType, device: &Device) -> Result<Tensor> {
    let shape = shape.into();
    if device.is_cuda() {
        return Tensor::zeros(shape, dtype, device).map_err(|error| {
            match OutOfMemory::in_candle(&error) {
                Some(full) => full.into(),
                None => error,
            }
        });
    }
    let n = shape.elem_count();
    match dtype {
        DType::F32 => Tensor::from_vec(out_of_memory::zeros::<f32>(n)?, shape, device),
        DType::BF16 => Tensor::from_vec(out_of_memory::zeros::<half::bf16>(n)?, shape, device),
        DType::U32 => Tensor::from_vec(out_of_memory::zeros::<u32>(n)?, shape, device),
        other => bail!("no buffers of {other:?} are made"),
    }
}

/// Copies a tensor's values out; those of a GPU after all that is queued on it.
pub fn read(t: &Tensor) -> Result<Vec<f32>> {
    #[cfg(feature = "cuda")]
    if t.device().is_cuda() {
        return super::cuda::access::read(t);
    }
    Ok(guard(t).slice::<f32>()?.to_vec())
}

/// Lends a tensor's values to `f`: without a copy on the CPU, read out of a GPU.
pub fn lend<R>(t: &Tensor, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
    if t.device().is_cuda() {
        return Ok(f(&read(t)?));
    }
    Ok(f(guard(t).slice::<f32>()?))
}

/// Lends a tensor's memory to `f`, which fills it. The outer error is candle's, the inner one `f`'s.
pub fn fill<E>(
    t: &Tensor,
    f: impl FnOnce(&mut [f32]) -> std::result::Result<(), E>,
) -> Result<std::result::Result<(), E>> {
    if t.device().is_cuda() {
        let mut values = vec![0f32; t.elem_count()];
        return match f(&mut values) {
            Ok(()) => write(t, &values).map(Ok),
            Err(e) => Ok(Err(e)),
        };
    }
    lend_mut(t, |slice| Ok(f(slice)))
}

/// Overwrites a tensor's values (of any of the element types used here).
pub fn write<T: WithDType>(t: &Tensor, values: &[T]) -> Result<()> {
    if t.elem_count() != values.len() {
        bail!(
            "{} values for a tensor of shape {:?}",
            values.len(),
            t.shape()
        );
    }
    #[cfg(feature = "cuda")]
    if t.device().is_cuda() {
        return super::cuda::access::write(t, values);
    }
    t.inplace_op1(&Lend(RefCell::new(Some(
        |storage: &mut CpuStorage, layout: &Layout| {
            let Some((from, to)) = layout.contiguous_offsets() else {
                bail!("destination is not contiguous: {layout:?}")
            };
            match storage {
                CpuStorage::F32(all) => copy_as(&mut all[from..to], values),
                CpuStorage::U32(all) => copy_as(&mut all[from..to], values),
                other => bail!("cannot write to {:?}", storage_dtype(other)),
            }
        },
    ))))
}

fn copy_as<A: WithDType, T: WithDType>(into: &mut [A], from: &[T]) -> Result<()> {
    if A::DTYPE != T::DTYPE {
        bail!("{:?} values for a tensor of {:?}", T::DTYPE, A::DTYPE);
    }
    // SAFETY: equal DTYPE means the same element type, and the lengths were compared by the caller.
    let same = unsafe { std::slice::from_raw_parts(from.as_ptr().cast::<A>(), from.len()) };
    into.copy_from_slice(same);
    Ok(())
}

/// Refuses a rounded copy: the CPU rounds operands where it multiplies them, and keeps no rounded copies.
pub fn none_on_cpu(rounded: Option<&Tensor>) -> Result<()> {
    match rounded {
        Some(_) => bail!("the CPU keeps no rounded copies"),
        None => Ok(()),
    }
}
