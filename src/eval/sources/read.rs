//! Reads the rows of a file of any format.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;

use super::find::Format;
use super::{DataError, Place, Row, table as tables};
use crate::corpus;

/// The rows of a file, in order.
pub type Rows = Box<dyn Iterator<Item = Result<Row>>>;

/// Opens a file of rows: JSON, Parquet, or a table whose first row names the columns.
///
/// # Errors
/// When it cannot be read or is of another format; while reading, when it is damaged, with the place.
pub fn rows(file: &Path) -> Result<Rows> {
    match Format::of(file) {
        Some(Format::Tsv | Format::Csv) => table(file, None),
        format => {
            let name: Arc<Path> = file.into();
            let records = corpus::records(file)?;
            Ok(Box::new(records.map(move |record| {
                let record = record?;
                let place = match format {
                    Some(Format::Parquet) => Place::row(&name, record.at),
                    _ => Place::line(&name, record.at),
                };
                Ok(Row::new(place, record.fields))
            })))
        }
    }
}

/// Opens a table; one of comma-separated values may have no row of names, and then has these columns.
///
/// # Errors
/// When it cannot be read, or a row has more or fewer values than there are columns.
pub fn table(file: &Path, names: Option<&[&str]>) -> Result<Rows> {
    let name: Arc<Path> = file.into();
    let text = corpus::read_text(file)?;
    let rows = match Format::of(file) {
        Some(Format::Tsv) => tables::tsv(&name, &text)?,
        _ => tables::csv(&name, &text, names)?,
    };
    Ok(Box::new(rows.into_iter().map(Ok)))
}

/// Reads a file with a label below `classes` on each line.
///
/// # Errors
/// When it cannot be read, or a line is not such a label.
pub fn labels(file: &Path, classes: usize) -> Result<Vec<usize>> {
    let name: Arc<Path> = file.into();
    let text = corpus::read_text(file)?;
    let mut labels = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let label = line.trim().parse::<usize>().ok();
        let label = label.filter(|label| *label < classes);
        labels.push(label.ok_or_else(|| DataError::Invalid {
            place: Place::line(&name, i + 1),
            what: format!(
                "expected a label from 0 to {}, found {:?}",
                classes.saturating_sub(1),
                crate::text::cut(line, 60)
            ),
        })?);
    }
    Ok(labels)
}
