//! Reads files, unpacking compressed ones up to a limit.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;

use flate2::bufread::GzDecoder;

use super::content::{self, HEAD, Packing};
use super::tally::Tally;
use crate::corpus::CorpusError;
use crate::file;

/// The largest window of a zstd stream, as a power of two: `--long=27`, which zstd itself accepts by default.
const ZSTD_WINDOW_LOG: u32 = 27;

type Bytes = Box<dyn Read + Send>;

/// The most that a packed text may unpack to, in multiples of its file's size. Prose unpacks to 3 to 5 times its size,
/// logs and tables to 20, and a file made to fill a disk to 1000 (gzip) or 30,000 (zstd).
const MOST_RATIO: u64 = 200;
/// Any file may unpack to this many bytes.
const FREE_BYTES: u64 = 256 << 20;

/// Checks that a file of `packed` bytes may unpack to `unpacked` bytes.
///
/// # Errors
/// Describes what to do about a file that is made to fill memory or disk.
pub fn check_ratio(packed: u64, unpacked: u64) -> io::Result<()> {
    if unpacked <= FREE_BYTES.max(packed.saturating_mul(MOST_RATIO)) {
        return Ok(());
    }
    let why = format!(
        "it unpacks to more than {MOST_RATIO} times its size, which is unusual for text; if it is valid, unpack it first"
    );
    Err(io::Error::new(io::ErrorKind::InvalidData, why))
}

/// The content of a packed file of `packed` bytes.
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
    tally: Arc<Tally>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.bytes.read(into)?;
        self.tally.add_bytes(n as u64);
        Ok(n)
    }
}

/// The members of a gzip file, one after the other. Zero bytes after a member are padding of a tape or a disk block.
struct Members<R> {
    /// Absent after the last member.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let n = member.read(into)?;
            if n > 0 || into.is_empty() {
                return Ok(n);
            }
            let rest = self.member.take().map(GzDecoder::into_inner);
            self.member = rest.map(next_member).transpose()?.flatten();
        }
        Ok(0)
    }
}

/// Begins the next member; `None` at the end of the file.
fn next_member<R: BufRead>(mut bytes: R) -> io::Result<Option<GzDecoder<R>>> {
    loop {
        let ready = match bytes.fill_buf() {
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            ready => ready?,
        };
        let zeros = ready.iter().take_while(|b| **b == 0).count();
        match ready.get(zeros) {
            None if ready.is_empty() => return Ok(None),
            None => bytes.consume(zeros),
            // If the header is damaged further on, the decoder reports it.
            Some(0x1f) => {
                bytes.consume(zeros);
                return Ok(Some(GzDecoder::new(bytes)));
            }
            Some(_) => {
                let why = "its gzip data ends there, and something else follows; if the text is complete, unpack it \
                 with gzip -dc, which ignores the rest";
                return Err(io::Error::new(ErrorKind::InvalidData, why));
            }
        }
    }
}

/// The bytes of a text, unpacked, after its byte order mark.
pub struct Text {
    /// Bytes of the mark.
    pub mark: usize,
    /// The first bytes, which have been inspected, and how many of them have been returned.
    head: Vec<u8>,
    given: usize,
    /// The error of reading after them.
    failed: Option<io::Error>,
    rest: Bytes,
}

impl Read for Text {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.given < self.head.len() {
            let n = (&self.head[self.given..]).read(into)?;
            self.given += n;
            return Ok(n);
        }
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.rest.read(into),
        }
    }
}

impl Text {
    /// Reads and inspects the first bytes.
    fn new(mut rest: Bytes) -> Self {
        let (mut head, mut failed) = (vec![0; HEAD], None);
        let mut n = 0;
        while n < HEAD {
            match rest.read(&mut head[n..]) {
                Ok(0) => break,
                Ok(more) => n += more,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => {
                    failed = Some(e);
                    break;
                }
            }
        }
        head.truncate(n);
        Self {
            mark: 0,
            head,
            given: 0,
            failed,
            rest,
        }
    }
}

/// Reads bytes in memory; `tally` counts those that have been read.
pub fn in_memory(bytes: &'static [u8], tally: &Arc<Tally>) -> Text {
    Text::new(Box::new(Counted {
        bytes,
        tally: Arc::clone(tally),
    }))
}

/// Opens a text whose name determines how it is packed, if at all; `tally` counts the bytes read from it.
///
/// # Errors
/// When it cannot be read, is not packed as its name implies, or is not a text in UTF-8.
pub fn open(path: &Path, named: Packing, tally: &Arc<Tally>) -> Result<Text, CorpusError> {
    let read = |source| CorpusError::Read {
        path: path.into(),
        source,
    };
    let file = file::open(path).map_err(read)?;
    let packed = file.metadata().map_err(read)?.len();
    let mut head = [0; HEAD];
    let n = file::read_start(&file, &mut head).map_err(read)?;
    let head = &head[..n];
    if let Some(error) = content::foreign_content(path, head) {
        return Err(error);
    }
    let packing = Packing::of(head);
    if packing == Packing::Plain && named != Packing::Plain && !head.is_empty() {
        return Err(CorpusError::Foreign {
            path: path.into(),
            what: format!(
                "it does not begin as a file packed with {} does; if it is unpacked already, give it a name without that ending",
                named.name()
            ),
        });
    }
    let file = Counted {
        bytes: file,
        tally: Arc::clone(tally),
    };
    let buffered = |file| BufReader::with_capacity(1 << 17, file);
    let bytes: Bytes = match packing {
        Packing::Plain => Box::new(file),
        Packing::Gzip => Box::new(Unpacked {
            inner: Members {
                member: Some(GzDecoder::new(buffered(file))),
            },
            packed,
            read: 0,
        }),
        Packing::Zstd => {
            let file = buffered(file);
            let mut decoder = zstd::stream::read::Decoder::with_buffer(file).map_err(read)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(read)?;
            Box::new(Unpacked {
                inner: decoder,
                packed,
                read: 0,
            })
        }
    };
    let mut text = Text::new(bytes);
    if packing != Packing::Plain
        && let Some(error) = content::packed_twice(path, packing, &text.head)
    {
        return Err(error);
    }
    let mark = content::byte_order_mark(&text.head);
    text.mark = mark.map_err(|encoding| CorpusError::Encoding {
        path: path.into(),
        encoding,
    })?;
    text.given = text.mark;
    Ok(text)
}
