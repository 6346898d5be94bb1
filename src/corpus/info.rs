//! What is in a text or a token file: `heirloom data info`.

use super::encode::read;
use super::reader::{Cuts, Kind, expand, kind};
use super::token_file::{self, Format, Opened};
use super::{CorpusError, Tokenizer, Width};
use crate::text::exact;

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Info {
    Tokens {
        format: Format,
        width: Width,
        n: u64,
        /// The smallest and the largest id.
        ids: Option<(u32, u32)>,
        /// How often the end of text occurs, where it is known which id that is.
        documents: Option<u64>,
        /// From the sidecar.
        tokenizer: Option<String>,
        sources: Vec<String>,
    },
    Text {
        documents: u64,
        bytes: u64,
    },
}

/// Looks through each file that `name` means.
///
/// # Errors
/// When one cannot be read or is damaged.
pub fn info(
    name: &str,
    tokenizer: Option<&Tokenizer>,
    each: &mut dyn FnMut(&str, Info),
) -> Result<(), CorpusError> {
    for file in expand(name)? {
        let info = match kind(&file)? {
            Kind::Tokens => tokens(&token_file::look(&exact::to_path(&file))?, tokenizer),
            _ => text(&file)?,
        };
        each(&file, info);
    }
    Ok(())
}

fn tokens(file: &Opened, tokenizer: Option<&Tokenizer>) -> Info {
    let side = file.side.as_ref();
    let end = match (tokenizer, side.map(|s| s.tokenizer.as_str())) {
        (Some(tokenizer), _) => tokenizer.document_end(),
        (None, Some("byte")) => Tokenizer::byte().document_end(),
        (None, Some("gpt2")) => Tokenizer::gpt2().document_end(),
        _ => None,
    };
    let (mut least, mut most, mut ends) = (u32::MAX, 0, 0);
    for id in file.ids() {
        least = least.min(id);
        most = most.max(id);
        ends += u64::from(Some(id) == end);
    }
    Info::Tokens {
        format: file.layout.format,
        width: file.layout.width,
        n: file.layout.n as u64,
        ids: (file.layout.n > 0).then_some((least, most)),
        documents: end.map(|_| ends),
        tokenizer: side.map(|s| s.tokenizer.clone()),
        sources: side.map_or(Vec::new(), |s| s.sources.clone()),
    }
}

fn text(name: &str) -> Result<Info, CorpusError> {
    let (mut documents, mut bytes, mut open) = (0, 0, false);
    let names = [name.to_string()];
    read(&names, Cuts::new(true), &Default::default(), |batch| {
        for piece in &batch.pieces {
            documents += u64::from(piece.ends);
            bytes += piece.text.len() as u64;
            open = !piece.ends;
        }
        Ok::<(), CorpusError>(())
    })?;
    documents += u64::from(open);
    Ok(Info::Text { documents, bytes })
}
