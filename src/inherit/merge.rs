//! Assembles a model as mergekit's passthrough does, with scaled and rounded tensors.

use candle_core::Device;

use super::slices::Slices;
use super::{InheritError, Origin, fill_from, shape};
use crate::model::{Decoder, Part, Weights};
use crate::tensors::DType;

/// Makes the model of a recipe. Returns it, and the type in which each of its tensors must be written: the recipe's, or the one
/// in which the tensor is `stored`. Otherwise works like [`assemble`](super::assemble).
///
/// # Errors
/// As `assemble`, and when a value does not fit the recipe's type.
pub fn assemble_slices(
    sources: &[&dyn Weights],
    slices: &Slices,
    what: &[Part],
    seed: u64,
    stored: impl Fn(&Origin) -> DType,
    device: &Device,
) -> Result<(Decoder, Vec<DType>), InheritError> {
    let model = Decoder::zeros(shape(sources, &slices.layers)?, device)?;
    let work = |from: &Origin| slices.dtype.unwrap_or_else(|| stored(from));
    let out = |from: &Origin| slices.out_dtype.unwrap_or_else(|| work(from));
    let change = |from: &Origin, values: &mut [f32]| {
        let name = from.name();
        let dtype = work(from);
        round(&name, dtype, values)?;
        if let Some(scale) = slices.scale(from) {
            // PyTorch also multiplies in f32.
            values.iter_mut().for_each(|v| *v *= scale as f32);
            round(&name, dtype, values)?;
        }
        round(&name, out(from), values)
    };
    fill_from(
        &model,
        sources,
        &slices.layers,
        slices.ends,
        what,
        seed,
        change,
    )?;
    let params = model.params.iter();
    let dtypes = params.map(|p| out(&slices.origin(p))).collect();
    Ok((model, dtypes))
}

/// Rounds values to what a type can hold.
fn round(name: &str, dtype: DType, values: &mut [f32]) -> Result<(), InheritError> {
    for v in values {
        let rounded = match dtype {
            DType::F16 => half::f16::from_f32(*v).to_f32(),
            DType::Bf16 => half::bf16::from_f32(*v).to_f32(),
            _ => *v,
        };
        if !rounded.is_finite() {
            return Err(InheritError::DoesNotFit {
                name: name.into(),
                value: *v,
                dtype,
            });
        }
        *v = rounded;
    }
    Ok(())
}
