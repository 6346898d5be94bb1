//! Page-locked memory that batches pass through: from anywhere else, a copy to the GPU waits for the work queued before it.

use std::sync::Arc;

use candle_core::Result;
use candle_core::cuda_backend::cudarc::driver::{CudaEvent, CudaStream, result};

use super::Address;
use super::driver_error::driver;

/// Copies under way at a time.
const SLOTS: usize = 8;

/// Larger copies take the ordinary way: they are made where nothing is queued anyway.
const MOST: usize = 4 << 20;

struct Slot {
    memory: *mut u8,
    size: usize,
    /// Recorded after the last copy from this slot.
    free: CudaEvent,
}

/// Slots of page-locked memory, used in turn.
pub struct Staging {
    stream: Arc<CudaStream>,
    slots: Vec<Slot>,
    next: usize,
}

// SAFETY: the slots' memory belongs to this value alone, which is used under a lock.
unsafe impl Send for Staging {}

impl Staging {
    pub fn new(stream: Arc<CudaStream>) -> Self {
        Self {
            stream,
            slots: Vec::new(),
            next: 0,
        }
    }

    /// Queues a copy of `bytes` to the GPU; they may change as soon as this returns. False when there are too many.
    ///
    /// # Safety
    /// `to` must have room for them.
    pub unsafe fn upload(&mut self, to: Address, bytes: &[u8]) -> Result<bool> {
        if bytes.len() > MOST {
            return Ok(false);
        }
        if self.slots.len() < SLOTS {
            let free = self.stream.context().new_event(None).map_err(driver)?;
            self.slots.push(Slot {
                memory: std::ptr::null_mut(),
                size: 0,
                free,
            });
            self.next = self.slots.len() - 1;
        }
        let slot = &mut self.slots[self.next];
        self.next = (self.next + 1) % SLOTS;
        slot.free.synchronize().map_err(driver)?;
        // SAFETY: the last copy from the slot is done; its memory is at least as large as `bytes` when they are copied; the stream keeps
        // the order.
        unsafe {
            if slot.size < bytes.len() {
                if !slot.memory.is_null() {
                    result::free_host(slot.memory.cast()).map_err(driver)?;
                    (slot.memory, slot.size) = (std::ptr::null_mut(), 0);
                }
                let size = bytes.len().next_power_of_two();
                slot.memory = result::malloc_host(size, 0).map_err(driver)?.cast();
                slot.size = size;
            }
            slot.memory
                .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            let staged = std::slice::from_raw_parts(slot.memory, bytes.len());
            result::memcpy_htod_async(to, staged, self.stream.cu_stream()).map_err(driver)?;
        }
        slot.free.record(&self.stream).map_err(driver)?;
        Ok(true)
    }
}
