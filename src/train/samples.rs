//! Continues texts with the model in training: greedily, and with tokens that are drawn with a fixed seed.

use anyhow::{Context, Result, bail};
use candle_core::Device;

use super::peers::Peers;
use super::trainer::Trainer;
use crate::corpus::Tokenizer;
use crate::model::{Decoder, Generator, Sampling};
use crate::run::event::{Body, Log, Sample};
use crate::text::clean;

/// Number of tokens in a continuation.
const TOKENS: usize = 64;
/// The seed of drawn tokens. It is the same for every model, so that texts differ only because models do.
const SEED: u64 = 1;

const GREEDY: Sampling = Sampling {
    temperature: 0.0,
    top_k: 0,
    top_p: 1.0,
    seed: SEED,
};
const DRAWN: Sampling = Sampling {
    temperature: 0.8,
    top_p: 0.95,
    ..GREEDY
};

impl Trainer {
    /// Continues the config's texts and journals them. What cannot be continued is logged, and training continues.
    ///
    /// # Errors
    /// When another rank is lost.
    pub(super) fn sample_all(&mut self) -> Result<()> {
        let prompts = self.config.eval.samples().to_vec();
        for prompt in prompts {
            if let Err(why) = self.sample(&prompt) {
                self.learner.peers().check()?;
                let message = format!("no text was continued: {why:#}");
                self.emit(Body::Log(Log { message }));
                break;
            }
        }
        Ok(())
    }

    /// Continues a text with the present model and journals it.
    ///
    /// # Errors
    /// When the model lies on a GPU, which cannot generate text, the text cannot be read or continued, or another rank is lost
    /// meanwhile.
    pub(super) fn sample(&mut self, prompt: &str) -> Result<Sample> {
        if !self.machine.device().is_cpu() {
            bail!(
                "generation works on the CPU only, and this model is on a GPU; heirloom generate continues texts with a checkpoint"
            );
        }
        let model = self.learner.model()?;
        let (tokenizer, peers) = (self.data.tokenizer(), self.learner.peers());
        let continued = |sampling| continued(model, tokenizer, prompt, sampling, peers);
        let sample = Sample {
            prompt: clean(prompt).into_owned(),
            greedy: continued(GREEDY)?,
            drawn: continued(DRAWN)?,
            seed: SEED,
            layers: self.learner.shape().n_layer,
        };
        self.emit(Body::Sample(sample.clone()));
        Ok(sample)
    }
}

/// Returns the continuation of a text by a model. A prompt that leaves no room in the model's context is cut on the left.
fn continued(
    model: &Decoder,
    tokenizer: &Tokenizer,
    prompt: &str,
    sampling: Sampling,
    peers: &Peers,
) -> Result<String> {
    let context = model.config.context_length;
    let mut ids = tokenizer.encode(prompt)?;
    if ids.is_empty() {
        ids.extend(tokenizer.end_of_text());
    }
    let most = context.saturating_sub(TOKENS).max(context / 2);
    ids.drain(..ids.len().saturating_sub(most));
    let room = ids.len().saturating_add(TOKENS).min(context);
    let mut generator = Generator::new(model, room, sampling, &Device::Cpu)?;
    let mut logits = generator
        .read(&ids)
        .context("the text cannot be read by the model")?;
    let mut made = Vec::new();
    while made.len() < TOKENS && logits.iter().all(|x| x.is_finite()) {
        peers.check()?;
        // A vocabulary may be padded with ids that stand for no text; these are not drawn.
        let known = tokenizer.size().min(logits.len());
        let id = generator.draw(&logits[..known]);
        if tokenizer.stops().contains(&id) {
            break;
        }
        made.push(id);
        if made.len() == TOKENS || generator.left() == 0 {
            break;
        }
        logits = generator.read(&[id])?;
    }
    Ok(clean(&tokenizer.decode(&made)?).into_owned())
}
