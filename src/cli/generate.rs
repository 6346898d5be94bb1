//! `heirloom generate`: generates text from a model.

use std::io::{Read, Write};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use candle_core::Device;

use super::{Global, exit, say};
use crate::corpus::{Tokenizer, Tokens};
use crate::locate;
use crate::model::{Files, Format, Generator, Mode, Sampling, cache_bytes, memory_bytes};
use crate::text;

/// Most bytes of a prompt.
const LONGEST_PROMPT: u64 = 16 << 20;

/// Continue a text
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(value_name = "MODEL", help = super::values::MODEL, value_parser = super::values::exact_text())]
    model: String,
    /// The text to continue; - reads it from stdin
    #[arg(long, value_name = "TEXT")]
    prompt: String,
    /// Maximum number of tokens to generate
    #[arg(short = 'n', long = "tokens", value_name = "N", default_value_t = 100)]
    n: usize,
    /// Divides the logits; 0 takes the likeliest token every time
    #[arg(long, value_name = "X", default_value_t = 0.8)]
    temperature: f64,
    /// Draw from the K likeliest tokens; 0: from all
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: usize,
    /// Draw from the likeliest tokens that reach this probability together
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    top_p: f64,
    /// Seed of the draws
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Another tokenizer than the model's: byte, gpt2, or a tokenizer.json
    #[arg(long, value_name = "NAME", value_parser = super::values::exact_text())]
    tokenizer: Option<String>,
    #[command(flatten)]
    global: Global,
}

impl Args {
    /// # Errors
    /// When the model cannot be read, or the prompt does not fit it.
    pub fn run(self) -> Result<()> {
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            let message = format!("--temperature must be at least 0, is {}", self.temperature);
            return Err(exit::usage(&message).into());
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            let message = format!("--top-p must be above 0 and at most 1, is {}", self.top_p);
            return Err(exit::usage(&message).into());
        }
        let prompt = self.prompt()?;
        let located = super::find::located(&self.model, &self.global.runs)?;
        let files = Files::open(&located.path)?;
        let tokenizer = match &self.tokenizer {
            Some(name) => Tokenizer::from_name(name)?,
            None => locate::tokenizer(&located.path)?,
        };
        tokenizer.vocabulary_fits(files.config.vocab)?;
        let ids = match tokenizer.encode(&prompt)? {
            // An empty prompt begins after the end of a document.
            ids if ids.is_empty() => tokenizer.end_of_text().into_iter().collect(),
            ids => ids,
        };
        Tokens::owned_long(ids.clone()).check_below("the prompt", files.config.vocab)?;
        let context = files.config.context_length;
        if ids.is_empty() || ids.len() >= context {
            bail!(
                "the prompt has {} tokens; it must have at least 1 and leave room in the model's context of {context}",
                ids.len()
            );
        }
        let room = ids.len().saturating_add(self.n).min(context);
        let shape = &files.config;
        let need = memory_bytes(shape, 1, room.min(256), Mode::Forward, Format::PLAIN)
            + cache_bytes(shape, room);
        super::memory::check_memory(need, &Device::Cpu, "this model with a text of this length")?;
        let model = files.load(&Device::Cpu)?;
        let sampling = Sampling {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            seed: self.seed,
        };
        let mut generator = Generator::new(&model, room, sampling, &Device::Cpu)?;
        let mut words = tokenizer.stream();
        let mut logits = generator.read(&ids)?;
        let began = Instant::now();
        let (mut made, mut ended) = (0, false);
        while made < self.n {
            // Rows that pad the vocabulary have no tokens.
            let known = tokenizer.size().min(logits.len());
            let id = generator.draw(&logits[..known]);
            made += 1;
            if tokenizer.stops().contains(&id) {
                ended = true;
                break;
            }
            if !print(&words.push(id)?)? {
                return Ok(());
            }
            if made == self.n || generator.left() == 0 {
                break;
            }
            logits = generator.read(&[id])?;
        }
        print(&words.finish()?)?;
        print("\n")?;
        let why = match (ended, made < self.n) {
            (true, _) => "; the model ended the text",
            (false, true) => "; the model's context is full",
            (false, false) => "",
        };
        let seconds = began.elapsed().as_secs_f64().max(1e-9);
        say::err(&format!(
            "{made} tokens, {:.1} a second{why}",
            made as f64 / seconds
        ));
        Ok(())
    }

    fn prompt(&self) -> Result<String> {
        if self.prompt != "-" {
            return Ok(self.prompt.clone());
        }
        let mut bytes = Vec::new();
        let read = std::io::stdin()
            .take(LONGEST_PROMPT + 1)
            .read_to_end(&mut bytes);
        read.context("the prompt cannot be read from stdin")?;
        if bytes.len() as u64 > LONGEST_PROMPT {
            bail!("the prompt on stdin is longer than {LONGEST_PROMPT} bytes");
        }
        String::from_utf8(bytes).context("the prompt on stdin is not UTF-8")
    }
}

/// Prints a piece of text at once, without characters that a terminal would interpret. Returns false if the reader has closed the
/// output.
fn print(piece: &str) -> Result<bool> {
    let lines: Vec<_> = piece.split('\n').map(text::sanitize).collect();
    let mut out = std::io::stdout().lock();
    let written = out.write_all(lines.join("\n").as_bytes());
    match written.and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(e.into()),
    }
}
