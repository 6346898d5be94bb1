//! Types in which tensors are stored: their names, block sizes, and identifiers in files.

use candle_core::quantized::GgmlDType;

/// The type in which the values of a tensor are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DType {
    F64,
    F32,
    F16,
    Bf16,
    /// GGUF's blocks that candle can turn into f32.
    Quantized(GgmlDType),
    /// Types whose name and size are known, but which are not read: integers, and formats without plain weights.
    Other(Other),
}

/// A data type that is listed, but whose values cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Other {
    name: &'static str,
    /// Values and bytes of a block.
    block: usize,
    bytes: usize,
}

const fn other(name: &'static str, block: usize, bytes: usize) -> DType {
    DType::Other(Other { name, block, bytes })
}

/// Types by their numbers in ggml.h.
const GGUF: [(u32, DType); 34] = {
    use DType::{Bf16, F16, F32, F64, Quantized};
    [
        (0, F32),
        (1, F16),
        (2, Quantized(GgmlDType::Q4_0)),
        (3, Quantized(GgmlDType::Q4_1)),
        (6, Quantized(GgmlDType::Q5_0)),
        (7, Quantized(GgmlDType::Q5_1)),
        (8, Quantized(GgmlDType::Q8_0)),
        (9, Quantized(GgmlDType::Q8_1)),
        (10, Quantized(GgmlDType::Q2K)),
        (11, Quantized(GgmlDType::Q3K)),
        (12, Quantized(GgmlDType::Q4K)),
        (13, Quantized(GgmlDType::Q5K)),
        (14, Quantized(GgmlDType::Q6K)),
        (15, Quantized(GgmlDType::Q8K)),
        (16, other("IQ2_XXS", 256, 66)),
        (17, other("IQ2_XS", 256, 74)),
        (18, other("IQ3_XXS", 256, 98)),
        (19, other("IQ1_S", 256, 50)),
        (20, other("IQ4_NL", 32, 18)),
        (21, other("IQ3_S", 256, 110)),
        (22, other("IQ2_S", 256, 82)),
        (23, other("IQ4_XS", 256, 136)),
        (24, other("I8", 1, 1)),
        (25, other("I16", 1, 2)),
        (26, other("I32", 1, 4)),
        (27, other("I64", 1, 8)),
        (28, F64),
        (29, other("IQ1_M", 256, 56)),
        (30, Bf16),
        (34, other("TQ1_0", 256, 54)),
        (35, other("TQ2_0", 256, 66)),
        (39, other("MXFP4", 32, 17)),
        (40, other("NVFP4", 64, 36)),
        (41, other("Q1_0", 128, 18)),
    ]
};

/// Types whose names occur in headers of safetensors.
const SAFETENSORS: [DType; 22] = [
    DType::F64,
    DType::F32,
    DType::F16,
    DType::Bf16,
    other("BOOL", 1, 1),
    other("U8", 1, 1),
    other("I8", 1, 1),
    other("U16", 1, 2),
    other("I16", 1, 2),
    other("U32", 1, 4),
    other("I32", 1, 4),
    other("U64", 1, 8),
    other("I64", 1, 8),
    other("C64", 1, 8),
    other("F8_E5M2", 1, 1),
    other("F8_E4M3", 1, 1),
    other("F8_E8M0", 1, 1),
    other("F8_E5M2FNUZ", 1, 1),
    other("F8_E4M3FNUZ", 1, 1),
    other("F6_E2M3", 4, 3),
    other("F6_E3M2", 4, 3),
    other("F4", 2, 1),
];

impl DType {
    /// Blocks of 32 values: an f16 scale and signed bytes.
    pub const Q8_0: Self = Self::Quantized(GgmlDType::Q8_0);
    /// Signed integers of 32 bits, which are written but not read.
    pub const I32: Self = other("I32", 1, 4);

    /// Returns the type of a number in a GGUF header.
    pub(super) fn from_gguf(id: u32) -> Option<Self> {
        GGUF.iter().find(|(n, _)| *n == id).map(|&(_, d)| d)
    }

    /// Returns the number in a GGUF header; `None` for types that GGUF does not have.
    pub(super) fn gguf_id(self) -> Option<u32> {
        GGUF.iter().find(|(_, d)| *d == self).map(|&(n, _)| n)
    }

    /// Returns the type of a word in a safetensors header.
    pub(super) fn from_safetensors(word: &str) -> Option<Self> {
        SAFETENSORS.into_iter().find(|d| d.name() == word)
    }

    /// Returns PyTorch's name of the type in which weights of this type are written.
    pub fn torch_name(self) -> &'static str {
        match self {
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
            _ => "float32",
        }
    }

    /// Returns the name in files and tools.
    pub fn name(self) -> &'static str {
        match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::Other(other) => other.name,
            Self::Quantized(blocks) => match blocks {
                GgmlDType::F32 => "F32",
                GgmlDType::F16 => "F16",
                GgmlDType::BF16 => "BF16",
                GgmlDType::Q4_0 => "Q4_0",
                GgmlDType::Q4_1 => "Q4_1",
                GgmlDType::Q5_0 => "Q5_0",
                GgmlDType::Q5_1 => "Q5_1",
                GgmlDType::Q8_0 => "Q8_0",
                GgmlDType::Q8_1 => "Q8_1",
                GgmlDType::Q2K => "Q2_K",
                GgmlDType::Q3K => "Q3_K",
                GgmlDType::Q4K => "Q4_K",
                GgmlDType::Q5K => "Q5_K",
                GgmlDType::Q6K => "Q6_K",
                GgmlDType::Q8K => "Q8_K",
            },
        }
    }

    /// Returns the number of values of a block; 1 for plain numbers.
    pub fn block(self) -> usize {
        match self {
            Self::F64 | Self::F32 | Self::F16 | Self::Bf16 => 1,
            Self::Quantized(blocks) => blocks.block_size(),
            Self::Other(other) => other.block,
        }
    }

    /// Returns the bytes of a block.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Quantized(blocks) => blocks.type_size(),
            Self::Other(other) => other.bytes,
        }
    }

    /// Whether tensors of this type can be read as f32.
    pub fn is_readable(self) -> bool {
        !matches!(self, Self::Other(_))
    }

    /// Returns the bytes of a number of values; `None` if they do not fill complete blocks, or on overflow.
    pub fn bytes(self, values: usize) -> Option<usize> {
        if !values.is_multiple_of(self.block()) {
            return None;
        }
        (values / self.block()).checked_mul(self.block_bytes())
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Returns the number of values of a shape; `None` on overflow.
pub(super) fn count(shape: &[usize]) -> Option<usize> {
    // Zeros are left out, so that an overflow of the other sizes is still found.
    let counted = shape.iter().filter(|&&n| n > 0);
    counted.copied().try_fold(1usize, usize::checked_mul)?;
    Some(shape.iter().product())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_that_cannot_be_counted_are_known() {
        assert_eq!(count(&[]), Some(1));
        assert_eq!(count(&[3, 0, 5]), Some(0));
        assert_eq!(count(&[usize::MAX, 2]), None);
        assert_eq!(count(&[usize::MAX, 2, 0]), None);
    }

    #[test]
    fn part_of_a_block_has_no_size() {
        assert_eq!(DType::Q8_0.bytes(64), Some(68));
        assert_eq!(DType::Q8_0.bytes(63), None);
        assert_eq!(DType::F64.bytes(usize::MAX), None);
    }
}
