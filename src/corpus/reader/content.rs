//! Recognises a file's format by its first bytes, independently of its name.

use std::path::Path;

use crate::corpus::CorpusError;
use crate::text;

/// Number of bytes that are inspected: a tar archive names itself at byte 257.
pub const HEAD: usize = 512;

/// A format that is recognised but not supported.
struct Foreign {
    name: &'static str,
    /// Endings of its files, in lower case.
    endings: &'static [&'static str],
    /// Whether a file's first bytes are those of this format.
    begins: fn(&[u8]) -> bool,
    /// The command that unpacks a file given as its argument.
    command: &'static str,
}

#[rustfmt::skip]
const FOREIGN: &[Foreign] = &[
    Foreign { name: "bzip2", endings: &["bz2", "bz"], begins: bzip2, command: "bzip2 -dk" },
    Foreign { name: "xz", endings: &["xz"], begins: |b| b.starts_with(b"\xfd7zXZ\0"), command: "xz -dk" },
    Foreign { name: "LZMA", endings: &["lzma"], begins: |b| b.starts_with(b"\x5d\0\0") && b.len() > 13, command: "xz -dk --format=lzma" },
    Foreign { name: "LZ4", endings: &["lz4"], begins: |b| b.starts_with(b"\x04\x22\x4d\x18") || b.starts_with(b"\x02\x21\x4c\x18"), command: "lz4 -d" },
    Foreign { name: "lzip", endings: &["lz"], begins: |b| b.starts_with(b"LZIP\x01"), command: "lzip -dk" },
    Foreign { name: "LZO", endings: &["lzo"], begins: |b| b.starts_with(b"\x89LZO\0"), command: "lzop -d" },
    Foreign { name: "Brotli", endings: &["br"], begins: |_| false, command: "brotli -d" },
    Foreign { name: "Snappy", endings: &["sz", "snappy"], begins: |b| b.starts_with(b"\xff\x06\0\0sNaPpY"), command: "snzip -dk" },
    Foreign { name: "compress", endings: &["z"], begins: |b| b.starts_with(b"\x1f\x9d"), command: "gzip -dk" },
    Foreign { name: "zip", endings: &["zip"], begins: |b| b.starts_with(b"PK\x03\x04") || b.starts_with(b"PK\x05\x06"), command: "unzip" },
    Foreign { name: "7-Zip", endings: &["7z"], begins: |b| b.starts_with(b"7z\xbc\xaf\x27\x1c"), command: "7z x" },
    Foreign { name: "RAR", endings: &["rar"], begins: |b| b.starts_with(b"Rar!\x1a\x07"), command: "unrar x" },
    Foreign { name: "tar", endings: &["tar", "tgz", "tbz", "tbz2", "txz", "tzst"], begins: |b| b.get(257..262) == Some(b"ustar"), command: "tar -xf" },
];

fn bzip2(head: &[u8]) -> bool {
    let block = head.get(4..10);
    let full = block == Some(b"1AY&SY");
    let empty = block == Some(b"\x17\x72\x45\x38\x50\x90");
    head.starts_with(b"BZh") && (full || empty)
}

/// The compression of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    /// Returns how a file is packed that begins with `head`.
    pub fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A regular frame, or a skippable one, with which pzstd begins its files.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }

    /// Returns its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "not",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// The error for a file whose ending names an unsupported way of packing.
pub fn foreign_ending(path: &Path) -> Option<CorpusError> {
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    let found = |f: &&Foreign| f.endings.contains(&ending.as_str());
    if let Some(foreign) = FOREIGN.iter().find(found) {
        return Some(foreign.refuse(path));
    }
    // x.tar.gz, x.parquet.gz: named is the program that unpacks the outer layer; its content cannot be read through it.
    let (command, name) = match ending.as_str() {
        "gz" => ("gzip -dk", "gzip"),
        "zst" => ("zstd -d", "zstd"),
        _ => return None,
    };
    let inside = Path::new(path.file_stem()?).extension()?.to_str()?;
    match inside.to_ascii_lowercase().as_str() {
        "tar" => Some(refuse(path, "tar", "tar -xf")),
        "parquet" | "bin" | "npy" => Some(refuse(path, name, command)),
        _ => None,
    }
}

/// The error for a file that begins with `head`, if its format is not supported.
pub fn foreign_content(path: &Path, head: &[u8]) -> Option<CorpusError> {
    if head.starts_with(b"PAR1\x15") {
        return Some(CorpusError::Foreign {
            path: path.into(),
            what: "it is a Parquet file; give it the ending .parquet".into(),
        });
    }
    let foreign = FOREIGN.iter().find(|f| (f.begins)(head))?;
    Some(foreign.refuse(path))
}

/// The error for a packed file whose content is packed again.
pub fn packed_twice(path: &Path, packing: Packing, head: &[u8]) -> Option<CorpusError> {
    let inside = match Packing::of(head) {
        Packing::Plain => FOREIGN.iter().find(|f| (f.begins)(head))?.name,
        inside => inside.name(),
    };
    Some(CorpusError::Foreign {
        path: path.into(),
        what: format!(
            "what it holds, packed with {}, is packed again with {inside}; unpack it first",
            packing.name()
        ),
    })
}

impl Foreign {
    fn refuse(&self, path: &Path) -> CorpusError {
        refuse(path, self.name, self.command)
    }
}

fn refuse(path: &Path, name: &str, command: &str) -> CorpusError {
    CorpusError::Foreign {
        path: path.into(),
        what: format!(
            "it is packed with {name}, and only gzip and zstd texts are read packed; unpack it first: {command} {}",
            text::argument(path)
        ),
    }
}

/// Returns the number of bytes that a byte order mark takes at the start of a text that begins with `head`.
///
/// # Errors
/// The name of the encoding, if it is not UTF-8.
pub fn byte_order_mark(head: &[u8]) -> Result<usize, &'static str> {
    match head {
        [0xef, 0xbb, 0xbf, ..] => return Ok(3),
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => return Err("UTF-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return Err("UTF-16"),
        _ => {}
    }
    // Without a mark, Latin letters have one zero byte each, always on the same side.
    let pairs = head[..head.len().min(64)].chunks_exact(2);
    if pairs.len() >= 2 && pairs.clone().all(|p| p[0] != 0 && p[1] == 0) {
        return Err("UTF-16LE");
    }
    if pairs.len() >= 2 && pairs.clone().all(|p| p[0] == 0 && p[1] != 0) {
        return Err("UTF-16BE");
    }
    Ok(0)
}
