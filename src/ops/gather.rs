//! Copies of chosen rows.

use candle_core::{Result, Tensor, bail};

use super::access::slices;
#[cfg(feature = "cuda")]
use super::cuda;
use super::runs::runs;

/// Copies rows of `x[R, C]`: `out[i] = x[rows[i]]`, both of one type.
///
/// # Errors
/// When a row is not one of R, or `out` is not `[rows, C]`.
pub fn gather_rows(out: &Tensor, x: &Tensor, rows: &[u32]) -> Result<()> {
    let (r, c) = x.dims2()?;
    if let Some(outside) = rows.iter().find(|&&row| row as usize >= r) {
        bail!("row {outside} is not one of {r} rows");
    }
    if out.dims() != [rows.len(), c] {
        bail!(
            "{} rows of {c} elements do not fit {:?}",
            rows.len(),
            out.shape()
        );
    }
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return cuda::access::copy_rows(out, x, &runs(rows));
    }
    slices([out], [x], |[out], [x]| {
        for run in runs(rows) {
            let from = &x[run.from * c..][..run.len * c];
            out[run.to * c..][..run.len * c].copy_from_slice(from);
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::ops;

    fn tensor(values: &[f32], shape: (usize, usize)) -> Tensor {
        Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
    }

    #[test]
    fn rows_are_copied_as_candle_selects_them() {
        let values: Vec<f32> = (0..21).map(|i| i as f32).collect();
        let x = tensor(&values, (7, 3));
        let rows = [6, 0, 1, 2, 2, 5];
        let out = tensor(&[f32::NAN; 18], (6, 3));
        gather_rows(&out, &x, &rows).unwrap();
        let ids = Tensor::new(&rows, &Device::Cpu).unwrap();
        let want = x.index_select(&ids, 0).unwrap();
        assert_eq!(ops::read(&out).unwrap(), ops::read(&want).unwrap());
    }

    #[test]
    fn rows_that_are_missing_or_do_not_fit_are_refused() {
        let (x, out) = (tensor(&[0.0; 6], (2, 3)), tensor(&[0.0; 3], (1, 3)));
        let error = gather_rows(&out, &x, &[2]).unwrap_err().to_string();
        assert!(error.starts_with("row 2 is not one of 2 rows"), "{error}");
        assert!(gather_rows(&out, &x, &[0, 1]).is_err());
    }
}
