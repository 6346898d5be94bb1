//! Rows of logits in a piece of memory, on a GPU.

use candle_core::DType;

/// Elements from one row of logits to the next on a GPU: rows begin at offsets that allow wide accesses.
pub fn stride(vocab: usize) -> usize {
    vocab.next_multiple_of(64)
}

/// Rows of logits of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    pub dtype: DType,
    /// Rows that fit.
    pub rows: usize,
    /// Elements from one row to the next.
    pub stride: usize,
}

impl Memory {
    /// The rows of this type that fit into this number of bytes; `None` if not even one fits.
    pub fn new(bytes: usize, dtype: DType, vocab: usize) -> Option<Self> {
        let stride = stride(vocab);
        let rows = bytes / (stride * dtype.size_in_bytes());
        (rows > 0).then_some(Self {
            dtype,
            rows,
            stride,
        })
    }

    /// Elements of another type from the beginning of one row to the next.
    pub fn stride_as(&self, dtype: DType) -> usize {
        self.stride * self.dtype.size_in_bytes() / dtype.size_in_bytes()
    }
}

/// Returns the type of logits in training with bf16 that a setting names: bf16 when the setting is absent or empty. `None` when it names
/// neither `bf16` nor `f32`.
pub fn chosen(setting: Option<String>) -> Option<DType> {
    match setting.as_deref() {
        None | Some("" | "bf16") => Some(DType::BF16),
        Some("f32") => Some(DType::F32),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f32_rows_take_twice_the_memory() {
        let bytes = 4 * (1 << 28);
        let memory = |dtype| Memory::new(bytes, dtype, 50257).unwrap();
        let (whole, half) = (memory(DType::F32), memory(DType::BF16));
        assert_eq!((whole.stride, half.stride), (50304, 50304));
        assert_eq!((whole.rows, half.rows), (5336, 10672));
        // A gradient in bf16 begins where its logits in f32 began.
        assert_eq!(whole.stride_as(DType::BF16), 2 * 50304);
        assert_eq!(whole.stride_as(DType::F32), 50304);
        assert_eq!(Memory::new(4 * 63, DType::F32, 50), None);
    }

    #[test]
    fn settings_are_types() {
        let chosen = |text: &str| chosen(Some(text.into()));
        assert_eq!(chosen("f32"), Some(DType::F32));
        assert_eq!(chosen("bf16"), Some(DType::BF16));
        assert_eq!(chosen("tf32"), None);
        assert_eq!(super::chosen(None), Some(DType::BF16));
    }
}
