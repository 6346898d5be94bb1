//! The pieces of a text: documents in order, long ones in parts.

use crate::corpus::CorpusError;

/// A document or, of a long one, a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub text: String,
    /// Whether the document ends here; the last one of a `.txt` need not.
    pub ends: bool,
}

/// The documents of a text, in order.
pub type Pieces = Box<dyn Iterator<Item = Result<Piece, CorpusError>> + Send>;
