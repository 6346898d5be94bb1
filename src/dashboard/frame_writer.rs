//! Buffers the bytes of a frame for the terminal.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::rc::Rc;
use std::sync::OnceLock;

use crossterm::queue;
use crossterm::terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate};
use ratatui::backend::{Backend, CrosstermBackend};

/// Gathers output until [`Self::send`], because ratatui flushes in the middle of a frame. Clones share the buffer.
#[derive(Clone)]
pub struct FrameWriter {
    pending: Rc<RefCell<Vec<u8>>>,
    out: Rc<File>,
}

impl FrameWriter {
    pub fn new(out: File) -> Self {
        Self {
            pending: Rc::default(),
            out: Rc::new(out),
        }
    }

    /// Writes the gathered bytes in one piece. Returns their number.
    ///
    /// # Errors
    /// When the terminal does not take it.
    pub fn send(&self) -> io::Result<usize> {
        let bytes = std::mem::take(&mut *self.pending.borrow_mut());
        (&*self.out).write_all(&bytes)?;
        Ok(bytes.len())
    }

    /// Writes like [`Self::send`], but skips a frame in which no cell has changed.
    ///
    /// # Errors
    /// When the terminal does not take it.
    pub fn send_frame(&self) -> io::Result<usize> {
        if *self.pending.borrow() == unchanged_frame() {
            self.pending.borrow_mut().clear();
        }
        self.send()
    }
}

/// Returns the bytes of a frame without cells: the brackets of a synchronised update, and the reset of attributes.
fn unchanged_frame() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let mut bytes = Vec::new();
        let mut backend = CrosstermBackend::new(&mut bytes);
        // Writing into memory does not fail.
        let _ = queue!(backend, BeginSynchronizedUpdate)
            .and_then(|()| backend.draw(std::iter::empty()))
            .and_then(|()| backend.hide_cursor())
            .and_then(|()| queue!(backend, EndSynchronizedUpdate));
        bytes
    })
}

impl Write for FrameWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
