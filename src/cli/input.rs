//! The options that name a command's input text, and the reading of it.

use anyhow::{Result, bail};

use super::say;
use crate::corpus::{self, TEXT_FIELD, Tokenizer, Tokens};
use crate::locate::{self, Located};
use crate::text::{self, exact};

/// Where a command's tokens come from.
#[derive(Debug, clap::Args)]
pub struct Input {
    /// A text, read with the model's tokenizer
    #[arg(long, value_name = "FILE", required_unless_present = "tokens", value_parser = super::values::exact_text())]
    text: Option<String>,
    /// A file of token ids
    #[arg(long, value_name = "FILE.bin", conflicts_with = "text", value_parser = super::values::exact_text())]
    tokens: Option<String>,
    /// Another tokenizer than the model's: byte, gpt2, or a tokenizer.json
    #[arg(long, value_name = "NAME", value_parser = super::values::exact_text())]
    tokenizer: Option<String>,
    /// Field of JSON rows and column of Parquet files that holds the text
    #[arg(long, value_name = "NAME", default_value = TEXT_FIELD, value_parser = super::values::exact_text())]
    text_field: String,
}

impl Input {
    /// Makes an input from values that were not parsed by [`Input`]'s own arguments.
    pub fn of(
        text: Option<String>,
        tokens: Option<String>,
        tokenizer: Option<String>,
        text_field: String,
    ) -> Self {
        Self {
            text,
            tokens,
            tokenizer,
            text_field,
        }
    }
}

/// Holds tokens and their origin.
pub struct Given {
    pub tokens: Tokens,
    /// The tokenizer that made them.
    pub tokenizer: Option<String>,
}

impl Input {
    /// Reads the tokens, of which the work that `why` names needs at least `need`.
    ///
    /// # Errors
    /// When they cannot be read, are outside the model's vocabulary, or are too few.
    pub fn read(&self, model: &Located, vocab: usize, need: usize, why: &str) -> Result<Given> {
        let (name, given) = self.all(model, vocab)?;
        if given.tokens.len() < need {
            bail!(
                "{} has {} tokens; {why} need {need}",
                text::clean(&name),
                given.tokens.len(),
            );
        }
        Ok(given)
    }

    fn all(&self, model: &Located, vocab: usize) -> Result<(String, Given)> {
        if let (Some(name), None) = (&self.tokens, &self.tokenizer) {
            // The ids of a token file must lie within the model's vocabulary.
            let tokens = corpus::token_file::open_below(&exact::to_path(name), vocab)?;
            let given = Given {
                tokens,
                tokenizer: None,
            };
            return Ok((name.clone(), given));
        }
        let tokenizer = match &self.tokenizer {
            Some(name) => Tokenizer::from_name(name)?,
            None => locate::tokenizer(&model.path)?,
        };
        tokenizer.vocabulary_fits(vocab)?;
        let name = self.tokens.as_ref().or(self.text.as_ref());
        let name = name.cloned().unwrap_or_default();
        let inputs = [name.clone()];
        let tokens = corpus::open(&inputs, &tokenizer, self.text_field.as_str(), &say::report)?;
        if tokenizer.fits(vocab).is_err() {
            tokens.check_below(&name, vocab)?;
        }
        let given = Given {
            tokens,
            tokenizer: Some(tokenizer.name().to_string()),
        };
        Ok((name, given))
    }
}
