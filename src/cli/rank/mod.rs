//! `heirloom rank`: measures which of a model's layers attend, and which have collapsed.

mod table;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::input::{Given, Input};
use super::windows::{Windows, check_share};
use super::{Global, exit, say};
use crate::locate::Located;
use crate::model::Files;
use crate::rank::{ETA, Figure, Head, MOST_MAPS, Map, Maps, Measure, Survey, Surveyed};
use crate::text;

/// Measure a model's attention ranks: how many layers to inherit
///
/// k* is the smallest number of singular values that hold tau of an attention matrix's squared mass, m* the smallest number of
/// columns that hold eta of it (Inheritune, arXiv 2404.08634). A layer's MaxRank is the largest mean k* of its heads; it is lazy
/// when every k* is 1. Windows are spread evenly over the text: they start at floor(i (n_tokens - T)/(N - 1)), i = 0..N-1.
/// Weights are read a layer at a time: a model need not fit the memory.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(value_name = "MODEL", help = super::values::MODEL, value_parser = super::values::exact_text())]
    model: String,
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    windows: Windows,
    /// Share of the squared singular values
    #[arg(long, value_name = "SHARE", default_value_t = 0.9)]
    tau: f64,
    /// Share of the squared column norms
    #[arg(long, value_name = "SHARE", default_value_t = ETA)]
    eta: f64,
    /// Average the attention over the windows before taking ranks
    #[arg(long)]
    batch_mean: bool,
    /// Also print MaxRank at tau = 0.80, 0.85, 0.90 and 0.95
    #[arg(long)]
    sweep: bool,
    /// A second model to compare with, of the same tokenizer: for example its reference
    #[arg(long, value_name = "MODEL", value_parser = super::values::exact_text())]
    against: Option<String>,
    /// Draw what this head attends to, e.g. 3.0; may be given again
    #[arg(long, value_name = "LAYER.HEAD", value_parser = head)]
    map: Vec<Head>,
    /// Write the result to this file: .json, .csv, or a picture as .svg or .png; may be given again
    #[arg(long, value_name = "FILE")]
    out: Vec<PathBuf>,
    #[command(flatten)]
    global: Global,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The surveys of the model and of the model it is compared with.
struct Found {
    ranks: Surveyed,
    maps: Vec<Map>,
    starts: Vec<usize>,
    given: Given,
    against: Option<(String, Surveyed)>,
}

impl Args {
    /// # Errors
    /// When a model or the text cannot be read, they do not fit each other, or the attention is not finite.
    pub fn run(self) -> Result<()> {
        let forms = self.out.iter().map(|path| Ok((path, form(path)?)));
        let forms: Vec<(&PathBuf, Form)> = forms.collect::<Result<_>>()?;
        if !self.map.is_empty() && !forms.iter().any(|(_, f)| f.has_maps()) && !self.json {
            bail!("--map is for a picture or JSON: add --out FILE.svg, .png or .json, or --json");
        }
        check_share("--tau", self.tau)?;
        check_share("--eta", self.eta)?;
        let found = self.find()?;
        let json = self.value(&found);
        for (path, form) in forms {
            let bytes = self.bytes(&found, &json, form)?;
            let named = || format!("{} cannot be written", text::path(path));
            crate::file::replace_output(path, &bytes).with_context(named)?;
        }
        match self.json {
            true => say::json(&json)?,
            false => say::out(&self.text(&found))?,
        }
        Ok(())
    }

    fn find(&self) -> Result<Found> {
        let (located, files) = self.open(&self.model)?;
        self.check_maps(&files)?;
        let other = match &self.against {
            Some(name) => Some((name, self.open(name)?.1)),
            None => None,
        };
        let vocab = files.config.vocab;
        if let Some((name, other)) = &other
            && other.config.vocab != vocab
        {
            bail!(
                "{} has a vocabulary of {}, {} one of {vocab}: their tokens differ, so they cannot be compared",
                text::clean(name),
                other.config.vocab,
                text::clean(&self.model)
            );
        }
        let time = self.windows.length;
        let why = format!("windows of {time}");
        let given = self.input.read(&located, vocab, time, &why)?;
        let starts = self.windows.starts(given.tokens.len());
        let (ranks, maps) = self.survey(&files, &given, &starts, &self.map)?;
        let against = match other {
            Some((name, other)) => {
                let (ranks, _) = self.survey(&other, &given, &starts, &[])?;
                Some((name.clone(), ranks))
            }
            None => None,
        };
        Ok(Found {
            ranks,
            maps,
            starts,
            given,
            against,
        })
    }

    fn open(&self, model: &str) -> Result<(Located, Files)> {
        let located = super::find::located(model, &self.global.runs)?;
        let files = Files::open(&located.path)?;
        self.windows.check(&files.config)?;
        Ok((located, files))
    }

    fn check_maps(&self, files: &Files) -> Result<()> {
        let (layers, heads) = (files.config.n_layer, files.config.n_head);
        if self.map.len() > MOST_MAPS {
            let what = format!("--map may be given at most {MOST_MAPS} times");
            return Err(exit::usage(&what).into());
        }
        match self.map.iter().find(|(l, h)| *l >= layers || *h >= heads) {
            Some((layer, head)) => Err(exit::usage(&format!(
                "--map {layer}.{head}: the model has layers 0 to {} of heads 0 to {}",
                layers - 1,
                heads - 1
            ))
            .into()),
            None => Ok(()),
        }
    }

    fn survey(
        &self,
        files: &Files,
        given: &Given,
        starts: &[usize],
        wanted: &[Head],
    ) -> Result<(Surveyed, Vec<Map>)> {
        let (config, length) = (&files.config, self.windows.length);
        let measure = Measure {
            tau: self.tau,
            eta: self.eta,
            length,
            batch_mean: self.batch_mean,
            sweep: self.sweep,
        };
        let mut survey = Survey::new(config.n_layer, config.n_head, measure)?;
        let mut maps = Maps::new(wanted, config.n_head, length);
        let influence = self
            .windows
            .walk(files, &given.tokens, starts, &mut |seen| {
                survey.add(seen.layer, seen.attention)?;
                maps.add(seen.layer, seen.attention);
                if seen.last {
                    survey.end_of_layer(seen.layer)?;
                }
                Ok(())
            })?;
        Ok((survey.finish(influence), maps.finish()))
    }

    fn value(&self, found: &Found) -> Value {
        let n_tokens = found.given.tokens.len();
        let mut json = found.ranks.json(&found.starts, n_tokens);
        json["model"] = self.model.clone().into();
        json["tokenizer"] = found.given.tokenizer.clone().into();
        if !found.maps.is_empty() {
            let maps = found.maps.iter();
            json["maps"] = maps.map(|map| map.json(&found.ranks)).collect();
        }
        if let Some((name, ranks)) = &found.against {
            let mut other = ranks.json(&found.starts, n_tokens);
            other["model"] = name.clone().into();
            json["against"] = other;
        }
        json
    }

    fn bytes(&self, found: &Found, json: &Value, form: Form) -> Result<Vec<u8>> {
        let name = text::clean(&self.model);
        let against = found.against.as_ref();
        let against = against.map(|(name, ranks)| (text::clean(name).into_owned(), ranks));
        let figure = Figure {
            name: &name,
            found: &found.ranks,
            against: against
                .as_ref()
                .map(|(name, ranks)| (name.as_str(), *ranks)),
            maps: &found.maps,
        };
        Ok(match form {
            Form::Json => (serde_json::to_string_pretty(json)? + "\n").into_bytes(),
            Form::Csv => found.ranks.csv().into_bytes(),
            Form::Svg => figure.svg().map_err(anyhow::Error::msg)?.into_bytes(),
            Form::Png => figure.png().map_err(anyhow::Error::msg)?,
        })
    }
}

/// Parses a head as `LAYER.HEAD`.
fn head(word: &str) -> Result<Head, String> {
    let parts = word.split_once('.');
    let parts = parts.and_then(|(l, h)| Some((l.parse().ok()?, h.parse().ok()?)));
    parts.ok_or_else(|| "give a layer and a head, both from 0, as in 3.0".into())
}

#[derive(Debug, Clone, Copy)]
enum Form {
    Json,
    Csv,
    Svg,
    Png,
}

impl Form {
    fn has_maps(self) -> bool {
        !matches!(self, Self::Csv)
    }
}

/// Determines the format from a file's name, and checks the directory, so that an error does not come after minutes of work.
///
/// # Errors
/// When the format is unknown, or the directory is missing.
fn form(path: &Path) -> Result<Form> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    if let Some(parent) = parent.filter(|p| !p.is_dir()) {
        bail!(
            "{} cannot be written: there is no directory {}",
            text::path(path),
            text::path(parent)
        );
    }
    match path.extension().and_then(|e| e.to_str()) {
        Some("json") => Ok(Form::Json),
        Some("csv") => Ok(Form::Csv),
        Some("svg") => Ok(Form::Svg),
        Some("png") => Ok(Form::Png),
        _ => bail!(
            "{}: the result is written as .json, .csv, .svg or .png",
            text::path(path)
        ),
    }
}
