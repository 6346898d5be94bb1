//! Reads numbers and bytes in order, without reading past the end.

/// Bytes that are read from front to back. A read past the end returns `None` and does not move.
pub struct Cursor<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Cursor<'b> {
    pub fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Returns the number of bytes read so far.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Returns the number of remaining bytes.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Returns the next `n` bytes.
    pub fn take(&mut self, n: usize) -> Option<&'b [u8]> {
        let taken = self.bytes[self.at..].get(..n)?;
        self.at += n;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }
}

/// Numbers in a file, little-endian.
pub trait Number: Sized {
    const BYTES: usize;
    fn read(cursor: &mut Cursor<'_>) -> Option<Self>;
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Number for $number {
            const BYTES: usize = size_of::<Self>();
            fn read(cursor: &mut Cursor<'_>) -> Option<Self> {
                cursor.array().map(Self::from_le_bytes)
            }
        }
    )*};
}

numbers!(u8, i8, u16, i16, u32, i32, u64, i64, f32, f64);
