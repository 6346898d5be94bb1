//! Opens the tokenizer and the texts that a config names.

use std::path::Path;

use anyhow::{Context, Result};

use crate::config::{Config, Texts, TokenizerChoice};
use crate::corpus::{Dataset, Encoding, Reporter, TokenCache, Tokenizer};
use crate::locate;

/// Returns an error's context that names the key of a reference that cannot be used.
pub(super) fn unusable(name: &str) -> String {
    format!("reference.path = \"{name}\" cannot be used")
}

/// Opens the texts of a config. With a `cache`, token ids are read from it if they are there, and otherwise written to it.
pub(in crate::cli) fn open_data(
    config: &Config,
    reference: Option<&Path>,
    cache: Option<&TokenCache>,
    report: Reporter<'_>,
) -> Result<Dataset> {
    let d = &config.data;
    // A reference that is loaded has its own context length, which the trainer checks.
    let context = match &config.reference.path {
        Some(_) => 1,
        None if config.train.context_length > 0 => config.train.context_length,
        None => config.model.context_length,
    };
    let tokenizer = tokenizer(config, reference)?;
    let how = Encoding {
        field: config.text_field(),
        cache,
    };
    let dataset = Dataset::open(
        &d.train.sources(),
        d.val.as_ref().map(Texts::paths),
        d.val_fraction,
        &tokenizer,
        how,
        context,
        report,
    )?;
    Ok(dataset)
}

/// Opens the config's tokenizer; `reference` is the path of the tokenizer stored with the reference's weights.
pub(super) fn tokenizer(config: &Config, reference: Option<&Path>) -> Result<Tokenizer> {
    let choice = config.tokenizer();
    let tokenizer = match (&config.reference.path, choice) {
        (Some(_), TokenizerChoice::Reference) => {
            let path = reference.context("located before")?;
            locate::tokenizer(path).context("data.tokenizer = \"reference\"")?
        }
        _ => Tokenizer::from_name(choice.name())?,
    };
    if config.reference.train.is_some() && config.model.vocab > 0 {
        tokenizer
            .fits(config.model.vocab)
            .context("model.vocab is too small; 0 takes what the tokenizer needs")?;
    }
    Ok(tokenizer)
}
