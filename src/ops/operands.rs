//! Compares the tensors that a GPU's kernel receives with what it will access: the device, the type and the number of elements of each.
//! Kernels get bare addresses, so that an operand that is too small would otherwise go unnoticed.

use candle_core::{DType, Device, Result, Tensor, bail};

/// Types of a kernel's activations.
pub const ACTIVATIONS: &[DType] = &[DType::F32, DType::BF16];
pub const F32: &[DType] = &[DType::F32];
#[cfg(feature = "cuda")]
pub const F64: &[DType] = &[DType::F64];
pub const BF16: &[DType] = &[DType::BF16];
/// Token ids.
pub const IDS: &[DType] = &[DType::U32];

/// The operands of one op, which must all lie on one device.
pub struct Operands<'a> {
    op: &'a str,
    device: &'a Device,
}

impl<'a> Operands<'a> {
    /// Operands of `op`, on the device of `first`.
    pub fn of(op: &'a str, first: &'a Tensor) -> Self {
        Self {
            op,
            device: first.device(),
        }
    }

    /// Compares one operand with what the kernel accesses.
    ///
    /// # Errors
    /// When it lies on another device, has another number of elements, or is of none of the types.
    pub fn check(&self, name: &str, t: &Tensor, elements: usize, dtypes: &[DType]) -> Result<()> {
        let op = self.op;
        if !t.device().same_device(self.device) {
            bail!(
                "{op}: {name} lies on {:?}, the others on {:?}",
                t.device().location(),
                self.device.location()
            );
        }
        if !dtypes.contains(&t.dtype()) {
            bail!("{op}: {name} is of {:?}, not of {dtypes:?}", t.dtype());
        }
        if t.elem_count() != elements {
            bail!(
                "{op}: {name} has the shape {:?}, which are not {elements} elements",
                t.shape()
            );
        }
        Ok(())
    }

    /// As [`Self::check`], of an operand that may be absent.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn check_optional(
        &self,
        name: &str,
        t: Option<&Tensor>,
        elements: usize,
        dtypes: &[DType],
    ) -> Result<()> {
        t.map_or(Ok(()), |t| self.check(name, t, elements, dtypes))
    }

    /// Compares the types of operands that one kernel takes as one type.
    ///
    /// # Errors
    /// When they differ.
    pub fn same_type(&self, tensors: &[&Tensor]) -> Result<()> {
        let mut types = tensors.iter().map(|t| t.dtype());
        let first = types.next();
        match types.find(|&dtype| Some(dtype) != first) {
            Some(other) => bail!(
                "{}: operands of {:?} and of {other:?}",
                self.op,
                tensors[0].dtype()
            ),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[usize], dtype: DType) -> Tensor {
        Tensor::zeros(shape, dtype, &Device::Cpu).unwrap()
    }

    #[test]
    fn what_fits_passes() {
        let x = tensor(&[2, 3], DType::F32);
        let operands = Operands::of("an op", &x);
        operands.check("x", &x, 6, ACTIVATIONS).unwrap();
        operands.check_optional("bias", None, 3, F32).unwrap();
        let rounded = tensor(&[6], DType::BF16);
        operands.check("rounded", &rounded, 6, BF16).unwrap();
        operands.same_type(&[&x, &x]).unwrap();
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let x = tensor(&[2, 3], DType::F32);
        let operands = Operands::of("an op", &x);
        let told = |result: Result<()>| result.unwrap_err().to_string();
        let small = tensor(&[2, 2], DType::F32);
        let error = told(operands.check("bias", &small, 6, F32));
        assert!(
            error.starts_with("an op: bias has the shape [2, 2], which are not 6 elements"),
            "{error}"
        );
        let large = tensor(&[7], DType::F32);
        assert!(operands.check("bias", &large, 6, F32).is_err());
        let ids = tensor(&[6], DType::U32);
        for (t, dtypes) in [(&ids, ACTIVATIONS), (&ids, F32), (&x, IDS), (&x, BF16)] {
            let error = told(operands.check_optional("ids", Some(t), 6, dtypes));
            assert!(error.starts_with("an op: ids is of "), "{error}");
        }
        let error = told(operands.same_type(&[&x, &x, &ids]));
        assert!(
            error.starts_with("an op: operands of F32 and of U32"),
            "{error}"
        );
    }
}
