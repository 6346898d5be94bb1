//! `heirloom demo`: shows the measurements on small examples.

use std::io::IsTerminal;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use anyhow::{Result, anyhow};
use clap::Subcommand;
use serde_json::{Value, json};

use super::{UiArgs, say};
use crate::dashboard::collapse;
use crate::demo::{self, Demo, Head, Known, Told};
use crate::threads;

/// Show attention collapse in a small example
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Collapse(Collapse),
}

impl Args {
    /// # Errors
    /// When the terminal cannot be taken over, or an example fails.
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Collapse(collapse) => collapse.run(),
        }
    }
}

/// Two small examples of the Inheritune authors: softmax reduces the rank of noisy scores to 1, and so does training
/// attention alone
///
/// First, queries and keys of noise: k* of each head's scores and of their softmax, averaged over a batch. Then a network of one
/// attention layer and nothing else, trained on random targets: k* of its heads as the steps go by. Reduced sizes take some
/// ten seconds on two cores.
#[derive(Debug, clap::Args)]
struct Collapse {
    /// The published sizes: a few minutes
    #[arg(long)]
    full: bool,
    /// Seed of the random queries, keys and targets
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ui: UiArgs,
}

impl Collapse {
    fn run(self) -> Result<()> {
        let demo = if self.full { Demo::FULL } else { Demo::REDUCED };
        let mut known = Known::new(demo);
        let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        let (told, worker) = start(demo, self.seed)?;
        if terminal && !self.json && !self.ui.plain() {
            collapse::show(&mut known, &told, &self.ui.options("", None, None))?;
        } else {
            for word in &told {
                if !self.json {
                    say::out(&(line(&word, known.heads.len()) + "\n"))?;
                }
                known.take(word)?;
            }
        }
        // After an early exit, the worker's next send fails, which ends it.
        drop(told);
        worker.join().map_err(|_| anyhow!("the demo failed"))?;
        match self.json {
            true => say::json(&self.value(&known))?,
            false => say::out(&summary(&known))?,
        }
        Ok(())
    }

    fn value(&self, known: &Known) -> Value {
        json!({
            "full": self.full,
            "seed": self.seed,
            "tau": demo::TAU,
            "softmax": known.heads,
            "network": known.probes,
            "seconds": known.seconds,
        })
    }
}

/// Runs both examples on a new thread. Returns the channel of their results, and the thread.
fn start(demo: Demo, seed: u64) -> Result<(Receiver<Told>, JoinHandle<()>)> {
    let (tell, told) = channel();
    let work = move || {
        let mut listened = true;
        let all = demo::heads(demo.softmax, seed, &mut |head| {
            listened = tell.send(Told::Head(head)).is_ok();
            listened
        });
        let all = all.and_then(|()| match listened {
            true => demo::train(demo.network, demo.steps, seed, &mut |probe| {
                tell.send(Told::Probe(probe)).is_ok()
            }),
            false => Ok(()),
        });
        if let Err(error) = all {
            let _ = tell.send(Told::Failed(error));
        }
    };
    Ok((told, threads::spawn("demo", work)?))
}

/// Returns the line that is printed for a result without a screen.
fn line(told: &Told, before: usize) -> String {
    match told {
        Told::Head(head) => format!(
            "head {before:2}   k* of scores {:4}, of attention {:3}, of attention with larger scores {:4}",
            head.scores, head.attention, head.sharper
        ),
        Told::Probe(probe) => format!(
            "step {:4} mean k* {:6.2}{}",
            probe.step,
            probe.mean(),
            match probe.loss.is_finite() {
                true => format!(", loss {:.4}", probe.loss),
                false => String::new(),
            }
        ),
        Told::Failed(_) => "stopped".into(),
    }
}

/// Summarises the demo in a few lines.
fn summary(known: &Known) -> String {
    let mut out = String::from("\n");
    let mean = |of: fn(&Head) -> usize| {
        let sum: usize = known.heads.iter().map(of).sum();
        sum as f64 / known.heads.len().max(1) as f64
    };
    if !known.heads.is_empty() {
        out.push_str(&format!(
            "softmax   mean k* of {} heads: {:.1} of scores, {:.1} of attention\n\
             \x20         (scores are small there; of deviation 2, k* of attention is {:.1})\n",
            known.heads.len(),
            mean(|h| h.scores),
            mean(|h| h.attention),
            mean(|h| h.sharper),
        ));
    }
    if let [first, .., last] = &known.probes[..] {
        out.push_str(&format!(
            "training  mean k* from {:.1} to {:.1} in {} steps, loss {:.4}\n",
            first.mean(),
            last.mean(),
            last.step,
            last.loss
        ));
    }
    match known.seconds {
        Some(seconds) => out.push_str(&format!("took      {seconds:.0} s\n")),
        None => out.push_str("left before the end\n"),
    }
    out
}
