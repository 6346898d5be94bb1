//! Text files into one token file.

use std::path::Path;

use rayon::prelude::*;

use super::reader::{Kind, kind, read};
use super::token_file::Writer;
use super::{CorpusError, END_OF_TEXT, Tokenizer};

/// Encodes a text document by document, in parallel. Cutting at `<|endoftext|>` cannot change the ids: tokens never
/// cross it.
pub fn encode_documents(text: &str, tokenizer: Tokenizer) -> Vec<u16> {
    if tokenizer == Tokenizer::Byte {
        return tokenizer.encode(text);
    }
    let documents: Vec<&str> = text.split(END_OF_TEXT).collect();
    let encoded: Vec<Vec<u16>> = documents.par_iter().map(|d| tokenizer.encode(d)).collect();
    encoded.join(&tokenizer.end_of_text())
}

/// What `prepare` made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prepared {
    pub tokens: u64,
    /// Bytes of text, `<|endoftext|>` included.
    pub bytes: u64,
}

/// Encodes `inputs` into the token file `out`; `<|endoftext|>` follows each file. `progress` gets bytes done and in all.
///
/// # Errors
/// When an input cannot be read, `out` exists and `force` is not given, or writing fails. A failure leaves `out` as it
/// was.
pub fn prepare(
    inputs: &[String],
    out: &Path,
    tokenizer: Tokenizer,
    force: bool,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Prepared, CorpusError> {
    if out.exists() && !force {
        return Err(CorpusError::Exists { path: out.into() });
    }
    for input in inputs {
        if kind(input)? == Kind::Tokens {
            return Err(CorpusError::TokenFile {
                path: input.into(),
                what: "holds tokens already; give texts".into(),
            });
        }
    }
    let size = |name: &String| std::fs::metadata(name).map_or(0, |m| m.len());
    let total: u64 = inputs.iter().map(size).sum();
    let mut writer = Writer::create(out)?;
    match encode_all(inputs, &mut writer, tokenizer, total, progress) {
        Ok(bytes) => {
            let tokens = writer.finish(tokenizer, inputs.to_vec())?;
            Ok(Prepared { tokens, bytes })
        }
        Err(error) => {
            writer.abandon();
            Err(error)
        }
    }
}

fn encode_all(
    inputs: &[String],
    writer: &mut Writer,
    tokenizer: Tokenizer,
    total: u64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<u64, CorpusError> {
    let mut done = 0;
    for input in inputs {
        let text = read(input)?;
        // A text that ends in a separator needs no second one.
        let text = text.strip_suffix(END_OF_TEXT).unwrap_or(&text);
        let documents: Vec<&str> = text.split(END_OF_TEXT).collect();
        // A few documents at a time: progress moves, and ids do not pile up.
        for some in documents.chunks(16) {
            let encoded: Vec<Vec<u16>> = some.par_iter().map(|d| tokenizer.encode(d)).collect();
            for (document, ids) in some.iter().zip(encoded) {
                writer.push(&ids)?;
                writer.push(&[tokenizer.end_of_text()])?;
                done += (document.len() + END_OF_TEXT.len()) as u64;
            }
            progress(done, total.max(done));
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_in_parallel_give_the_ids_of_the_whole() {
        let text = "One fish.<|endoftext|>Two fish,<|endoftext|> red  fish\n\n";
        for tokenizer in [Tokenizer::Byte, Tokenizer::Gpt2] {
            assert_eq!(encode_documents(text, tokenizer), tokenizer.encode(text));
        }
    }

    #[test]
    fn a_failure_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("o.bin");
        let missing = vec![dir.path().join("no.txt").display().to_string()];
        assert!(prepare(&missing, &out, Tokenizer::Byte, false, &mut |_, _| {}).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let text = dir.path().join("t.txt");
        std::fs::write(&text, "ab<|endoftext|>c").unwrap();
        let inputs = vec![text.display().to_string()];
        let made = prepare(&inputs, &out, Tokenizer::Byte, false, &mut |_, _| {}).unwrap();
        assert_eq!(made.tokens, 5);
        let again = prepare(&inputs, &out, Tokenizer::Byte, false, &mut |_, _| {});
        assert!(matches!(again, Err(CorpusError::Exists { .. })));
    }
}
