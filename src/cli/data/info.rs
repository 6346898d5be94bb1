//! `heirloom data info`: describes the contents of texts and token files.

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::cli::{exit, say};
use crate::corpus::info::{self, Looking};
use crate::corpus::{self, Skipped, TEXT_FIELD, Tokenizer};
use crate::run::table::count;
use crate::text;

#[derive(Debug, clap::Args)]
pub(super) struct Info {
    /// Files, directories, patterns such as 'train_*.bin'
    #[arg(required = true, value_name = "FILE", value_parser = crate::cli::values::exact_text())]
    files: Vec<String>,
    /// Count a text's tokens, and decode a token file's: byte, gpt2, or a path as for prepare
    #[arg(long, value_parser = crate::cli::values::exact_text())]
    tokenizer: Option<String>,
    /// Field of JSON rows and column of Parquet files that holds the text
    #[arg(long, value_name = "NAME", default_value = TEXT_FIELD, value_parser = crate::cli::values::exact_text())]
    text_field: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The counts so far.
#[derive(Default)]
struct Report {
    files: Vec<Value>,
    left_out: Vec<Value>,
    total: Total,
    failed: u64,
}

/// Sums over the files that could be read.
#[derive(Default)]
struct Total {
    files: u64,
    documents: u64,
    bytes: u64,
    /// Tokens of token files and, with a tokenizer, of texts.
    tokens: u64,
    skipped: Skipped,
}

impl Info {
    /// The exit code.
    pub(super) fn run(self) -> Result<i32> {
        let tokenizer = self.tokenizer.as_deref();
        let tokenizer = tokenizer.map(Tokenizer::from_name).transpose()?;
        let how = Looking {
            tokenizer: tokenizer.as_ref(),
            field: &self.text_field,
        };
        let mut report = Report::default();
        let mut files = Vec::new();
        for input in &self.files {
            match corpus::find(input) {
                Ok(found) => {
                    for line in found.left_out(input) {
                        self.leave_out(&mut report, &line)?;
                    }
                    files.extend(found.files);
                }
                Err(error) => report.fail(input, &error.to_string()),
            }
        }
        let sizes: Vec<u64> = files.iter().map(|f| corpus::size(f).unwrap_or(0)).collect();
        let bar = ProgressBar::new(sizes.iter().sum());
        bar.set_style(ProgressStyle::with_template(
            "{bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left  {msg}",
        )?);
        let mut before = 0;
        for (file, size) in files.iter().zip(sizes) {
            bar.set_message(text::clean(file).into_owned());
            let found = info::info(file, how, &mut |read| {
                bar.set_position(before + read.min(size));
            });
            before += size;
            bar.set_position(before);
            bar.suspend(|| match found {
                Ok(found) => {
                    report.add(file, &found);
                    match self.json {
                        true => Ok(()),
                        false => say::out(&lines(file, &found)),
                    }
                }
                Err(error) => {
                    report.fail(file, &error.to_string());
                    Ok(())
                }
            })?;
        }
        bar.finish_and_clear();
        if self.json {
            say::json(&report.json())?;
        } else if report.total.files + report.failed > 1 {
            say::out(&report.line())?;
        }
        Ok(match report.failed {
            0 => exit::OK,
            _ => exit::INPUT,
        })
    }

    fn leave_out(&self, report: &mut Report, what: &str) -> std::io::Result<()> {
        report.left_out.push(what.into());
        match self.json {
            true => Ok(()),
            false => say::out(&format!("{what}\n")),
        }
    }
}

impl Report {
    fn fail(&mut self, name: &str, error: &str) {
        say::err(error);
        self.failed += 1;
        self.files.push(json!({"file": name, "error": error}));
    }

    fn add(&mut self, name: &str, found: &info::Info) {
        let total = &mut self.total;
        total.files += 1;
        self.files.push(match found {
            info::Info::Text {
                documents,
                bytes,
                tokens,
                skipped,
                line,
            } => {
                total.documents += documents;
                total.bytes += bytes;
                total.tokens += tokens.unwrap_or(0);
                total.skipped.null += skipped.null;
                total.skipped.missing += skipped.missing;
                json!({
                    "file": name,
                    "kind": "text",
                    "documents": documents,
                    "bytes": bytes,
                    "tokens": tokens,
                    "skipped": skipped,
                    "first_line": line,
                })
            }
            info::Info::Tokens {
                format,
                width,
                n,
                ids,
                documents,
                tokenizer,
                sources,
                line,
            } => {
                total.documents += documents.unwrap_or(0);
                total.tokens += n;
                json!({
                    "file": name,
                    "kind": "tokens",
                    "format": format.to_string(),
                    "id_bytes": width.bytes(),
                    "tokens": n,
                    "ids": ids.map(|(least, most)| [least, most]),
                    "documents": documents,
                    "tokenizer": tokenizer,
                    "sources": sources,
                    "first_line": line,
                })
            }
        });
    }

    fn json(&self) -> Value {
        let total = &self.total;
        json!({
            "files": self.files,
            "left_out": self.left_out,
            "total": {
                "files": total.files,
                "unreadable": self.failed,
                "documents": total.documents,
                "bytes": total.bytes,
                "tokens": total.tokens,
                "skipped": total.skipped,
            },
        })
    }

    /// Returns a line with the sums.
    fn line(&self) -> String {
        let total = &self.total;
        let files = if total.files == 1 { "file" } else { "files" };
        let mut line = format!("{} {files}", count(total.files));
        if total.bytes > 0 {
            line.push_str(&format!(", {} bytes of text", count(total.bytes)));
        }
        if total.documents > 0 {
            line.push_str(&format!(", {}", documents_in_words(total.documents)));
        }
        if total.tokens > 0 {
            line.push_str(&format!(", {} tokens", count(total.tokens)));
        }
        if total.skipped.rows() > 0 {
            line.push_str(&format!(", {}", total.skipped));
        }
        if self.failed > 0 {
            line.push_str(&format!("; {} cannot be read", count(self.failed)));
        }
        line + "\n"
    }
}

/// Formats `1 document`, `12.5k documents`.
pub(super) fn documents_in_words(n: u64) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{} document{plural}", count(n))
}

/// Returns the line about a file, and the file's first line.
fn lines(name: &str, found: &info::Info) -> String {
    let name = text::clean(name);
    let (mut out, line) = match found {
        info::Info::Text {
            documents,
            bytes,
            tokens,
            skipped,
            line,
        } => {
            let (bytes, documents) = (count(*bytes), documents_in_words(*documents));
            let mut out = format!("{name}: text, {bytes} bytes in {documents}");
            if let Some(tokens) = tokens {
                out.push_str(&format!(", {} tokens", count(*tokens)));
            }
            if skipped.rows() > 0 {
                out.push_str(&format!(", {skipped}"));
            }
            (out, line)
        }
        info::Info::Tokens {
            format,
            width,
            n,
            ids,
            documents,
            tokenizer,
            sources,
            line,
        } => {
            let mut out = format!("{name}: {format}, {} ids of {}", count(*n), width.name());
            if let Some((least, most)) = ids {
                out.push_str(&format!(" from {least} to {most}"));
            }
            if let Some(documents) = documents {
                out.push_str(&format!(", {}", documents_in_words(*documents)));
            }
            if let Some(tokenizer) = tokenizer {
                out.push_str(&format!(
                    ", made by the {} tokenizer from {}",
                    text::clean(tokenizer),
                    text::clean(&sources.join(", "))
                ));
            }
            (out, line)
        }
    };
    if let Some(line) = line {
        out.push_str(&format!("\n  {}", text::clean(line).trim()));
    }
    out + "\n"
}
