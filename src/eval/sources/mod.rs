//! The published files of downstream tasks: `find` locates them under a data directory, `read` and `table` read their rows,
//! `row` gives a row's fields their types.

mod error;
mod find;
mod place;
mod read;
mod row;
mod table;

pub use error::DataError;
pub use find::{Format, Places, ROWS, child, directories, names, tables};
pub use place::Place;
pub use read::{Rows, labels, rows, table};
pub use row::Row;
