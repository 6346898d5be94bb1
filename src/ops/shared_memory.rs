//! Limits of the dynamic shared memory of kernels.

/// Bytes of dynamic shared memory that a kernel may use without a request: together with its static shared memory, they stay below the 48
/// KiB that every kernel may use.
const FREE: u32 = 32 << 10;

/// The largest amount that was asked for.
#[derive(Debug, Clone, Copy)]
pub struct SharedMemory(u32);

impl Default for SharedMemory {
    fn default() -> Self {
        Self(FREE)
    }
}

impl SharedMemory {
    /// Calls `ask` with `bytes` when that is more than was asked for so far.
    ///
    /// # Errors
    /// As `ask`; nothing has grown then.
    pub fn grow<E>(&mut self, bytes: u32, ask: impl FnOnce(u32) -> Result<(), E>) -> Result<(), E> {
        if bytes > self.0 {
            ask(bytes)?;
            self.0 = bytes;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel's later launch may want more than its first: attention matrices of longer windows.
    #[test]
    fn more_is_asked_for_again_and_less_is_not() {
        let mut shared = SharedMemory::default();
        let mut asked = Vec::new();
        for bytes in [0, 1 << 10, 40 << 10, 33 << 10, 40 << 10, 60 << 10, 0] {
            let grown = shared.grow(bytes, |bytes| {
                asked.push(bytes);
                Ok::<_, ()>(())
            });
            grown.unwrap();
        }
        assert_eq!(asked, [40 << 10, 60 << 10]);
        assert!(shared.grow(99 << 10, |_| Err(())).is_err());
        let mut again = false;
        let asks = |_| {
            again = true;
            Ok::<_, ()>(())
        };
        shared.grow(99 << 10, asks).unwrap();
        assert!(again);
    }
}
