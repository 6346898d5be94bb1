//! `heirloom export`: writes a model in a format of other programs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Global, exit, say};
use crate::export::{self, ExportError, Form, Job, Subject};
use crate::run::table::count;
use crate::signals::WATCHED;
use crate::tensors::{DType, TensorError};
use crate::text;

/// Write a model for other programs: Hugging Face or GGUF
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(value_name = "MODEL", help = super::values::MODEL, value_parser = super::values::exact_text())]
    model: String,
    /// Format to write
    #[arg(long, value_enum)]
    format: Format,
    /// The directory (hf) or file (gguf) to write
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// Type in which weights are stored: f32, f16 or bf16 (hf), f32, f16 or q8_0 (gguf)
    #[arg(long, value_enum, value_name = "TYPE", default_value = "f32")]
    dtype: Type,
    /// Maximum size of one safetensors file, as in 500MB or 5GB (hf)
    #[arg(long, value_name = "SIZE", default_value = "5GB", value_parser = size)]
    shard_size: u64,
    /// Replace an existing model
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    global: Global,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A directory that transformers loads
    Hf,
    /// A file that llama.cpp loads
    Gguf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Type {
    F32,
    F16,
    Bf16,
    #[value(name = "q8_0")]
    Q8_0,
}

impl Args {
    /// # Errors
    /// When there is no such model, the format cannot hold it, or it cannot be written.
    pub fn run(self) -> Result<i32> {
        let (form, dtype) = kind(self.format, self.dtype)?;
        let located = super::find::found(&self.model, &self.global.runs)?;
        let subject = Subject::open(&self.model, &located, &self.global.runs)?;
        let stop = Arc::new(AtomicBool::new(false));
        for signal in WATCHED {
            signal_hook::flag::register(signal, Arc::clone(&stop))
                .context("cannot watch signals")?;
        }
        let bar = ProgressBar::new(subject.files.config.parameters());
        bar.set_style(ProgressStyle::with_template(
            "{bar:30} {human_pos}/{human_len} parameters  {eta} left",
        )?);
        let mut progress = |written| {
            bar.set_position(written);
            !stop.load(Ordering::Relaxed)
        };
        let job = Job {
            form,
            dtype,
            shard_bytes: self.shard_size,
            target: self.out.clone(),
            replace: self.force,
            progress: &mut progress,
        };
        let written = export::export(&subject, job);
        bar.finish_and_clear();
        let written = match written {
            Ok(written) => written,
            Err(ExportError::Interrupted) => {
                say::err(&ExportError::Interrupted.to_string());
                return Ok(exit::INTERRUPTED);
            }
            Err(ExportError::Tensors(TensorError::Exists { path })) => {
                return Err(exit::usage(&format!(
                    "{} exists; choose another --out, or replace it with --force",
                    text::path(&path)
                ))
                .into());
            }
            Err(error) => return Err(error.into()),
        };
        say::out(&summary(&subject, &self.out, &written))?;
        Ok(exit::OK)
    }
}

fn summary(subject: &Subject, out: &Path, written: &export::Written) -> String {
    let mut told = format!(
        "{}: {} parameters of {}\n",
        text::path(out),
        count(written.parameters),
        subject.name
    );
    for change in &written.changes {
        told.push_str(&format!("  {change}\n"));
    }
    told
}

/// Converts format and type to the library's types.
fn kind(format: Format, dtype: Type) -> Result<(Form, DType)> {
    let form = match format {
        Format::Hf => Form::HuggingFace,
        Format::Gguf => Form::Gguf,
    };
    let dtype = match (dtype, format) {
        (Type::F32, _) => DType::F32,
        (Type::F16, _) => DType::F16,
        (Type::Bf16, Format::Hf) => DType::Bf16,
        (Type::Q8_0, Format::Gguf) => DType::Q8_0,
        (Type::Bf16, Format::Gguf) => {
            return Err(exit::usage("--dtype bf16: a GGUF file takes f32, f16 or q8_0").into());
        }
        (Type::Q8_0, Format::Hf) => {
            return Err(exit::usage(
                "--dtype q8_0: a Hugging Face directory takes f32, f16 or bf16",
            )
            .into());
        }
    };
    Ok((form, dtype))
}

/// Parses `5GB`, `500MB`, `1000000`, with decimal units as in transformers.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => 0,
    };
    let bytes = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
    match bytes {
        Some(bytes) if bytes > 0 => Ok(bytes),
        _ => Err("use a number of bytes above 0, as in 500MB or 5GB".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_decimal_and_never_nothing() {
        assert_eq!(size("5GB"), Ok(5_000_000_000));
        assert_eq!(size("500mb"), Ok(500_000_000));
        assert_eq!(size("1000"), Ok(1000));
        for odd in ["", "0", "0GB", "5TB", "-1", "GB", "1.5GB", "99999999999GB"] {
            assert!(size(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn each_format_has_its_types() {
        assert!(kind(Format::Gguf, Type::Q8_0).is_ok());
        assert!(kind(Format::Hf, Type::Bf16).is_ok());
        assert!(kind(Format::Hf, Type::Q8_0).is_err());
        assert!(kind(Format::Gguf, Type::Bf16).is_err());
    }
}
