//! The training and validation tokens of a run.

use std::path::Path;

use super::reader::{Kind, kind, read};
use super::{CorpusError, Tokenizer, Tokens, token_file};

/// Training and validation tokens.
#[derive(Debug, Clone)]
pub struct Dataset {
    pub train: Tokens,
    pub val: Tokens,
    pub tokenizer: Tokenizer,
    /// What messages call the two.
    names: [String; 2],
}

impl Dataset {
    /// Opens what a config's `[data]` names. Without `val`, the last `val_fraction` of the training tokens are held out.
    /// `progress` is told of long work.
    ///
    /// # Errors
    /// When a text cannot be read or is shorter than one window of `context` tokens and its target.
    pub fn open(
        train: &str,
        val: Option<&str>,
        val_fraction: f64,
        tokenizer: &str,
        context: usize,
        progress: &dyn Fn(&str),
    ) -> Result<Self, CorpusError> {
        let tokenizer = Tokenizer::from_name(tokenizer)?;
        let all = tokens(train, tokenizer, progress)?;
        let (train_tokens, val_tokens) = match val {
            Some(val) => (all, tokens(val, tokenizer, progress)?),
            None => {
                let held_out = (all.len() as f64 * val_fraction) as usize;
                all.split_at(all.len() - held_out)
            }
        };
        let val_name = match val {
            Some(val) => format!("{val} (validation)"),
            None => format!(
                "the validation part of {train} (the last {:.0} %)",
                100.0 * val_fraction
            ),
        };
        let dataset = Self {
            train: train_tokens,
            val: val_tokens,
            tokenizer,
            names: [train.to_string(), val_name],
        };
        dataset.check_length(context)?;
        Ok(dataset)
    }

    /// Whether both texts have at least one window of `context` tokens and its target.
    ///
    /// # Errors
    /// [`CorpusError::TooShort`], naming the text.
    pub fn check_length(&self, context: usize) -> Result<(), CorpusError> {
        for (what, tokens) in self.names.iter().zip([&self.train, &self.val]) {
            if tokens.len() < context + 1 {
                return Err(CorpusError::TooShort {
                    what: what.clone(),
                    have: tokens.len(),
                    context,
                });
            }
        }
        Ok(())
    }
}

/// The tokens of one input.
fn tokens(
    name: &str,
    tokenizer: Tokenizer,
    progress: &dyn Fn(&str),
) -> Result<Tokens, CorpusError> {
    if kind(name)? == Kind::Tokens {
        return token_file::open(Path::new(name), tokenizer);
    }
    let text = read(name)?;
    // Bytes take no time; BPE about a second per 10 MB.
    if tokenizer == Tokenizer::Gpt2 && text.len() > 4 << 20 {
        progress(&format!(
            "tokenizing {name} ({} MB); `heirloom data prepare` does it once for all runs",
            text.len() >> 20
        ));
    }
    Ok(Tokens::owned(super::prepare::encode_documents(
        &text, tokenizer,
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_text_is_split_at_its_end() {
        let open = |fraction| {
            Dataset::open(
                "builtin:tinyshakespeare",
                None,
                fraction,
                "byte",
                128,
                &|_| {},
            )
        };
        let data = open(0.1).unwrap();
        assert_eq!(data.train.len() + data.val.len(), 1_115_394);
        assert_eq!(data.val.len(), 111_539);
        assert_eq!(data.train.get(0), u16::from(b'F'));
        let error = open(0.0001).unwrap_err().to_string();
        assert!(
            error.contains("has 111 tokens") && error.contains("at least 129"),
            "{error}"
        );
    }
}
