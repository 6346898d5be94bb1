//! `.parquet` files with all of their columns, row by row.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{ConvertedType, Repetition};
use parquet::file::reader::FileReader;
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use serde_json::{Map, Value};

use super::compressed::check_ratio;
use super::parquet::{failed, open};
use super::record::{Record, Records};
use crate::corpus::CorpusError;
use crate::failure;

pub fn records(path: &Path) -> Result<Records, CorpusError> {
    let (reader, packed) = open(path)?;
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    for column in schema.root_schema().get_fields() {
        check(column)
            .map_err(|what| failed(path, format!("its column {:?} {what}", column.name())))?;
    }
    // An empty row group has no pages to open.
    if reader.metadata().file_metadata().num_rows() == 0 {
        return Ok(Box::new(std::iter::empty()));
    }
    Ok(Box::new(Rows {
        path: path.into(),
        rows: RowIter::from_file_into(Box::new(reader)),
        at: 0,
        packed,
        read: 0,
        failed: false,
    }))
}

/// Checks that the reader of rows, which asserts this, can read a column.
fn check(column: &Arc<Type>) -> Result<(), &'static str> {
    if column.is_primitive() {
        return Ok(());
    }
    let fields = column.get_fields();
    if fields.is_empty() {
        return Err("is a group without fields");
    }
    match column.get_basic_info().converted_type() {
        ConvertedType::LIST => {
            let [repeated] = fields else {
                return Err("is not a valid list");
            };
            if repeated.get_basic_info().repetition() != Repetition::REPEATED {
                return Err("is not a valid list");
            }
            check(repeated)
        }
        ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE => {
            Err("holds maps, which are not read; export the data without it")
        }
        _ => fields.iter().try_for_each(check),
    }
}

struct Rows {
    path: PathBuf,
    rows: RowIter<'static>,
    /// Rows returned.
    at: usize,
    /// Bytes of the file, and of the values returned.
    packed: u64,
    read: u64,
    failed: bool,
}

impl Iterator for Rows {
    type Item = Result<Record, CorpusError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        // The library panics on some damaged files; the rows are not read further then.
        let row = match failure::quietly(|| self.rows.next()) {
            Ok(row) => row?.map_err(|e| e.to_string()),
            Err(panic) => Err(panic),
        };
        self.at += 1;
        let record = row.and_then(|row| {
            let fields = self.fields(&row);
            check_ratio(self.packed, self.read).map_err(|e| e.to_string())?;
            Ok(Record {
                at: self.at,
                fields,
            })
        });
        self.failed = record.is_err();
        Some(record.map_err(|what| failed(&self.path, format!("row {}: {what}", self.at))))
    }
}

impl Rows {
    fn fields(&mut self, row: &Row) -> Map<String, Value> {
        let mut fields = Map::new();
        for (name, field) in row.get_column_iter() {
            let value = self.value(field);
            fields.insert(name.clone(), value);
        }
        fields
    }

    /// Returns a value as JSON has it. Kinds that data sets of texts do not have are null.
    fn value(&mut self, field: &Field) -> Value {
        self.read += 8;
        match field {
            Field::Bool(v) => (*v).into(),
            Field::Byte(v) => (*v).into(),
            Field::Short(v) => (*v).into(),
            Field::Int(v) => (*v).into(),
            Field::Long(v) => (*v).into(),
            Field::UByte(v) => (*v).into(),
            Field::UShort(v) => (*v).into(),
            Field::UInt(v) => (*v).into(),
            Field::ULong(v) => (*v).into(),
            Field::Float(v) => (*v).into(),
            Field::Double(v) => (*v).into(),
            Field::Str(text) => {
                self.read += text.len() as u64;
                text.as_str().into()
            }
            // Older writers do not mark columns of bytes as texts.
            Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
                Ok(text) => {
                    self.read += text.len() as u64;
                    text.into()
                }
                Err(_) => Value::Null,
            },
            Field::Group(row) => Value::Object(self.fields(row)),
            Field::ListInternal(list) => {
                let values = list.elements().iter().map(|field| self.value(field));
                Value::Array(values.collect())
            }
            _ => Value::Null,
        }
    }
}
