//! Bytes of a file, unpacked on the way.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

use crate::corpus::CorpusError;

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// The largest window of a zstd stream, as a power of two: `--long=27`, what its own program reads unasked.
const ZSTD_WINDOW_LOG: u32 = 27;

pub type Bytes = Box<dyn Read + Send>;

/// Counts the bytes of a file as they are read.
struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.read(into)?;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Opens a file; `count` grows by the bytes read from it.
pub fn open(path: &Path, packing: Packing, count: &Arc<AtomicU64>) -> Result<Bytes, CorpusError> {
    let read = |source| CorpusError::Read {
        path: path.into(),
        source,
    };
    let file = Counted {
        file: File::open(path).map_err(read)?,
        read: Arc::clone(count),
    };
    if packing == Packing::Plain {
        return Ok(Box::new(file));
    }
    let file = BufReader::with_capacity(1 << 17, file);
    Ok(match packing {
        Packing::Gzip => Box::new(MultiGzDecoder::new(file)),
        _ => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(file).map_err(read)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(read)?;
            Box::new(decoder)
        }
    })
}
