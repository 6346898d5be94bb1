//! `.parquet`: a column of texts, as OpenWebText and FineWeb-Edu are published.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{LogicalType, Type};
use parquet::column::reader::ColumnReader;
use parquet::data_type::ByteArray;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;

use super::compressed::check_ratio;
use super::cut::Cut;
use super::tally::Tally;
use super::{Pieces, ReadOptions};
use crate::corpus::CorpusError;
use crate::{failure, file};

/// Rows read at a time.
const ROWS: usize = 256;

/// Opens a file and returns it with its size in bytes.
///
/// # Errors
/// When it cannot be read, or is not a valid Parquet file.
pub(super) fn open(path: &Path) -> Result<(SerializedFileReader<File>, u64), CorpusError> {
    let read = |source| CorpusError::Read {
        path: path.into(),
        source,
    };
    let file = file::open(path).map_err(read)?;
    let packed = file.metadata().map_err(read)?.len();
    // The library panics on some damaged files.
    let reader = failure::quietly(|| SerializedFileReader::new(file));
    let reader = reader.map_err(|panic| failed(path, panic))?;
    Ok((reader.map_err(|e| failed(path, e.to_string()))?, packed))
}

/// Returns the error for an invalid file.
pub(super) fn failed(path: &Path, what: String) -> CorpusError {
    CorpusError::Parquet {
        path: path.into(),
        what,
    }
}

pub fn pieces(path: &Path, how: &ReadOptions, tally: &Arc<Tally>) -> Result<Pieces, CorpusError> {
    let fail = |what| failed(path, what);
    let (reader, packed) = open(path)?;
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let columns = schema.columns();
    // Writers give a column without values any type, and pandas leaves the column out.
    let all = row_count(&reader);
    if all == 0 {
        return Ok(Box::new(std::iter::empty()));
    }
    let named = |c: &Arc<ColumnDescriptor>| c.path().string() == *how.field;
    let Some(column) = columns.iter().position(named) else {
        let names: Vec<String> = columns.iter().map(|c| c.path().string()).collect();
        return Err(fail(format!(
            "it has no column {:?}; its columns are {}. Name one with --text-field (in a config: data.text_field)",
            how.field,
            crate::text::cut(&crate::text::clean(&names.join(", ")), 200)
        )));
    };
    let kind = &columns[column];
    if kind.max_rep_level() == 0 && is_null(&reader, column) {
        tally.add_bytes(packed);
        tally.add_null(all);
        return Ok(Box::new(std::iter::empty()));
    }
    if kind.physical_type() != Type::BYTE_ARRAY || kind.max_rep_level() > 0 {
        return Err(fail(format!(
            "its column {:?} does not hold texts",
            how.field
        )));
    }
    let rows = Rows {
        path: path.into(),
        nullable: kind.max_def_level() > 0,
        groups: reader.num_row_groups(),
        reader,
        tally: Arc::clone(tally),
        column,
        group: 0,
        open: None,
        row: 0,
        packed,
        read: 0,
        ready: Vec::new().into_iter(),
        failed: false,
    };
    Ok(Box::new(Cut::new(rows, how.cuts)))
}

/// Returns how many rows a file has.
fn row_count(reader: &SerializedFileReader<File>) -> u64 {
    let groups = reader.metadata().row_groups().iter();
    let rows = groups.map(|group| u64::try_from(group.num_rows()).unwrap_or(0));
    rows.fold(0, u64::saturating_add)
}

/// Returns whether all rows of a column are null, by its type or by its statistics. The type of such a column does not
/// determine the type in other shards.
fn is_null(reader: &SerializedFileReader<File>, column: usize) -> bool {
    reader.metadata().row_groups().iter().all(|group| {
        let Some(chunk) = group.columns().get(column) else {
            return false;
        };
        let unknown = chunk.column_descr().logical_type_ref() == Some(&LogicalType::Unknown);
        let nulls = chunk.statistics().and_then(|s| s.null_count_opt());
        unknown || nulls.is_some_and(|nulls| Ok(nulls) == u64::try_from(chunk.num_values()))
    })
}

struct Rows {
    path: PathBuf,
    reader: SerializedFileReader<File>,
    tally: Arc<Tally>,
    column: usize,
    nullable: bool,
    groups: usize,
    /// The next row group.
    group: usize,
    open: Option<ColumnReader>,
    /// Number of texts returned.
    row: usize,
    /// Bytes of the file, and of the texts returned, each text counting one more for its row.
    packed: u64,
    read: u64,
    ready: std::vec::IntoIter<ByteArray>,
    failed: bool,
}

impl Rows {
    fn fail(&self, what: impl std::fmt::Display) -> CorpusError {
        CorpusError::Parquet {
            path: self.path.clone(),
            what: format!("after {} texts: {what}", self.row),
        }
    }

    fn document(&mut self) -> Result<Option<String>, CorpusError> {
        loop {
            if let Some(bytes) = self.ready.next() {
                let text = String::from_utf8(bytes.data().to_vec());
                let text = text.map_err(|_| self.fail("the next one is not UTF-8"))?;
                self.row += 1;
                self.read += text.len() as u64;
                check_ratio(self.packed, self.read).map_err(|e| self.fail(e))?;
                return Ok(Some(text));
            }
            if !self.more()? {
                return Ok(None);
            }
        }
    }

    /// Reads the next batch; returns whether there was one.
    fn more(&mut self) -> Result<bool, CorpusError> {
        loop {
            if let Some(ColumnReader::ByteArrayColumnReader(column)) = &mut self.open {
                let (mut values, mut levels) = (Vec::new(), Vec::new());
                let levels = self.nullable.then_some(&mut levels);
                let read = column.read_records(ROWS, levels, None, &mut values);
                let (rows, _, _) = read.map_err(|e| self.fail(e))?;
                if rows > 0 {
                    // Rows without a text take no space in the file, but still take time.
                    self.tally.add_null((rows - values.len().min(rows)) as u64);
                    self.read += rows as u64;
                    check_ratio(self.packed, self.read).map_err(|e| self.fail(e))?;
                    // Rows without a text have no value.
                    self.ready = values.into_iter();
                    return Ok(true);
                }
                self.open = None;
            }
            if self.group == self.groups {
                return Ok(false);
            }
            let group = self.reader.get_row_group(self.group);
            let column = group.and_then(|g| g.get_column_reader(self.column));
            self.open = Some(column.map_err(|e| self.fail(e))?);
            let bytes = self
                .reader
                .metadata()
                .row_group(self.group)
                .compressed_size();
            self.tally.add_bytes(u64::try_from(bytes).unwrap_or(0));
            self.group += 1;
        }
    }
}

impl Iterator for Rows {
    type Item = Result<String, CorpusError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.document().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}
