//! Reads files, unpacking compressed ones up to a limit.

use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

use crate::corpus::CorpusError;
use crate::file;

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

/// The most that a packed text may unpack to, in multiples of its file's size. Prose unpacks to 3 to 5 times its size,
/// logs and tables to 20, and a file made to fill a disk to 1000 (gzip) or 30,000 (zstd).
const MOST_RATIO: u64 = 200;
/// Texts up to this many bytes may come of any file.
const FREE_BYTES: u64 = 256 << 20;

/// Checks that `unpacked` bytes may come of a file of `packed` bytes.
///
/// # Errors
/// Says what to do about a file that is made to fill memory or disk.
pub fn check_ratio(packed: u64, unpacked: u64) -> io::Result<()> {
    if unpacked <= FREE_BYTES.max(packed.saturating_mul(MOST_RATIO)) {
        return Ok(());
    }
    let why = format!(
        "it unpacks to more than {MOST_RATIO} times its size, which is unusual for text; if it is valid, unpack it first"
    );
    Err(io::Error::new(io::ErrorKind::InvalidData, why))
}

/// The bytes of a packed file of `packed` bytes.
struct Unpacked<R> {
    inner: R,
    packed: u64,
    read: u64,
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(into)?;
        self.read += n as u64;
        check_ratio(self.packed, self.read)?;
        Ok(n)
    }
}

/// Counts the bytes of a file as they are read.
struct Counted<R> {
    bytes: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.bytes.read(into)?;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Reads bytes in memory; `count` grows by those that have been read.
pub fn in_memory(bytes: &'static [u8], count: &Arc<AtomicU64>) -> Bytes {
    Box::new(Counted {
        bytes,
        read: Arc::clone(count),
    })
}

/// Opens a file; `count` grows by the bytes read from it.
pub fn open(path: &Path, packing: Packing, count: &Arc<AtomicU64>) -> Result<Bytes, CorpusError> {
    let read = |source| CorpusError::Read {
        path: path.into(),
        source,
    };
    let file = file::open(path).map_err(read)?;
    let packed = file.metadata().map_err(read)?.len();
    let file = Counted {
        bytes: file,
        read: Arc::clone(count),
    };
    if packing == Packing::Plain {
        return Ok(Box::new(file));
    }
    let file = BufReader::with_capacity(1 << 17, file);
    Ok(match packing {
        Packing::Gzip => Box::new(Unpacked {
            inner: MultiGzDecoder::new(file),
            packed,
            read: 0,
        }),
        _ => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(file).map_err(read)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(read)?;
            Box::new(Unpacked {
                inner: decoder,
                packed,
                read: 0,
            })
        }
    })
}
