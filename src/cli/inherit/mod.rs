//! `heirloom inherit`: makes a model from layers of other models.

mod explain;
mod measuring;
mod ranks;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::Device;

use measuring::{Found, Measuring};

use super::{Global, exit, say};
use crate::config::{INHERITABLE, LayerChoice, PARTS, nearest_layers};
use crate::export;
use crate::file;
use crate::inherit::{self, Ends, InheritError, Origin, Slices, Taken};
use crate::locate::Located;
use crate::model::{self, Decoder, DecoderConfig, Files, Part, Weights};
use crate::tensors::{DType, Output, check_space};
use crate::text::{self, exact};

/// Most bytes of a slices file.
const LARGEST: u64 = 16 << 20;

/// Make a model from layers of another
///
/// Layers can be chosen by a rule with the number of them that is kept: spread:n takes them evenly over the depth; influence:n
/// keeps those of the highest block influence (ShortGPT, arXiv 2403.03853), angular:n all but the contiguous block of the least
/// angular distance (arXiv 2403.17887), loss:n drops one at a time, the one without which the loss is least (SLEB, arXiv
/// 2402.09025). These three are measured on windows of a text, spread evenly as `heirloom loss` spreads them; loss:n takes a pass
/// for each layer that remains, each time one is dropped.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long, value_name = "MODEL", required_unless_present = "slices", help = super::values::MODEL, value_parser = super::values::exact_text())]
    from: Option<String>,
    /// Layers to take: a number (the first ones), a range (8..16, without 16), a list (0,2,5), half, auto (half, but
    /// only those before the first collapsed layer; needs --ranks), or spread:n, influence:n, angular:n, loss:n
    #[arg(
        long,
        value_name = "LAYERS",
        default_value = "half",
        conflicts_with = "slices"
    )]
    layers: String,
    /// Take and scale layers by a passthrough recipe of mergekit (YAML); its models are paths, from the file's
    /// directory on
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    slices: Option<PathBuf>,
    /// Parts to inherit; the rest starts random. norms are both norms of a layer; attention_norm and mlp_norm name one
    /// of them
    #[arg(long, value_name = "PARTS", value_delimiter = ',', default_values = INHERITABLE.map(Part::name))]
    what: Vec<String>,
    /// MaxRank by layer for auto: JSON with "max_rank" (also of `heirloom show --json`), or a file of a run's rank/
    #[arg(long, value_name = "FILE")]
    ranks: Option<PathBuf>,
    /// Seed of what starts random
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The directory to write
    #[arg(long, value_name = "DIR", required_unless_present_any = ["dry_run", "explain"])]
    out: Option<PathBuf>,
    /// Replace an existing model
    #[arg(long)]
    force: bool,
    /// Print the source of every layer, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Print what was measured of each layer and which are taken, and write nothing
    #[arg(long, conflicts_with_all = ["slices", "out", "dry_run"])]
    explain: bool,
    /// With --explain: print JSON
    #[arg(long, requires = "explain")]
    json: bool,
    #[command(flatten)]
    measuring: Measuring,
    #[command(flatten)]
    global: Global,
}

/// The recipe of a new model.
struct Recipe {
    names: Vec<String>,
    files: Vec<Files>,
    located: Vec<Located>,
    layers: Vec<Taken>,
    /// The option that names the layers, unless it is `--layers`.
    slices: Option<Slices>,
    /// The measure that chose the layers.
    found: Option<Found>,
}

/// Refuses a recipe of tied models if the file of the last one also contains a head.
fn check_heads(recipe: &Recipe) -> Result<()> {
    let ends = recipe.ends();
    if ends.first != ends.last && recipe.files[ends.last].stores_tied_head() {
        bail!(exit::usage(&format!(
            "{}: its head is tied to its embedding, but its file also has lm_head.weight. mergekit would use that \
             tensor as a separate head, because the recipe takes the embedding from another model: to get the same, \
             set tie_word_embeddings to false in the config.json of every model of the recipe; to keep the head tied, \
             remove lm_head.weight from the file",
            text::clean(&recipe.names[ends.last])
        )));
    }
    Ok(())
}

impl Recipe {
    fn ends(&self) -> Ends {
        self.slices.as_ref().map_or(Ends::default(), |s| s.ends)
    }

    /// Returns the index of the model whose tokenizer is copied.
    fn tokenizer_of(&self) -> usize {
        self.slices.as_ref().and_then(|s| s.base).unwrap_or(0)
    }

    /// Describes the factors and types of the tensors of a new model of this shape; empty if they are unchanged.
    fn changes(&self, shape: &DecoderConfig) -> String {
        let Some(slices) = &self.slices else {
            return String::new();
        };
        let params = shape.params();
        let scaled = params.iter().map(|p| slices.scale(&slices.origin(p)));
        let scaled: Vec<f64> = scaled.flatten().collect();
        let mut out = String::new();
        if let Some(&first) = scaled.first() {
            let (low, high) = scaled
                .iter()
                .fold((first, first), |(low, high), &x| (low.min(x), high.max(x)));
            let by = match low == high {
                true => low.to_string(),
                false => format!("{low} to {high}"),
            };
            let (some, all) = (scaled.len(), params.len());
            out.push_str(&format!("{some} of {all} tensors times {by} (scale)\n"));
        }
        if let Some(dtype) = slices.out_dtype.or(slices.dtype) {
            out.push_str(&format!("written as {dtype}\n"));
        }
        if slices.chat_template {
            out.push_str("chat_template is ignored: heirloom writes no file that uses it\n");
        }
        out
    }
}

impl Args {
    /// # Errors
    /// When a model cannot be read, lacks a layer or is of another shape, or the output cannot be written.
    pub fn run(self) -> Result<()> {
        let what = self.parts()?;
        let recipe = self.recipe()?;
        if self.explain {
            return self.explain(&recipe);
        }
        let sources: Vec<&dyn Weights> = recipe.files.iter().map(|f| f as &dyn Weights).collect();
        let shape = inherit::shape(&sources, &recipe.layers)?;
        say::out(&self.table(&recipe, &shape, &what))?;
        let Some(out) = self.out.as_ref().filter(|_| !self.dry_run) else {
            return Ok(());
        };
        for located in &recipe.located {
            located.verify()?;
        }
        let output = Output::directory(out, self.force)?;
        check_space(output.content().path(), 4 * shape.parameters())?;
        // The weights, and a copy that is being written.
        super::memory::check_memory(8 * shape.parameters(), &Device::Cpu, "making this model")?;
        let tokens = export::Tokens::of_model(&recipe.located[recipe.tokenizer_of()].path)?;
        check_heads(&recipe)?;
        let (model, dtypes) = self.model(&recipe, &sources, &what)?;
        model::save_as(
            &model.config,
            &model.params,
            &model.weights.read_all()?,
            &dtypes,
            tokens.special.eos,
            output.content(),
        )?;
        let mut notes = Vec::new();
        tokens.write(&model.config, output.content(), &mut notes)?;
        output.commit()?;
        say::out(&format!("\nwritten to {}\n", text::path(out)))?;
        for note in notes {
            say::out(&format!("  {note}\n"))?;
        }
        Ok(())
    }

    /// Returns the parts to take.
    fn parts(&self) -> Result<Vec<Part>> {
        let part = |name: &String| {
            let known = PARTS.into_iter().find(|part| part.name() == name);
            known.ok_or_else(|| {
                let names = PARTS.map(Part::name).join(", ");
                exit::usage(&format!("--what: unknown part {name:?}; parts are {names}")).into()
            })
        };
        self.what.iter().map(part).collect()
    }

    /// Makes the new model. Returns it, and the type in which each of its tensors is written: F32, or the recipe's.
    fn model(
        &self,
        recipe: &Recipe,
        sources: &[&dyn Weights],
        what: &[Part],
    ) -> Result<(Decoder, Vec<DType>), InheritError> {
        let Some(slices) = &recipe.slices else {
            let layers = &recipe.layers;
            let model = inherit::assemble(sources, layers, what, self.seed, &Device::Cpu)?;
            let dtypes = vec![DType::F32; model.params.len()];
            return Ok((model, dtypes));
        };
        let stored =
            |from: &Origin| match recipe.files[from.source].dtype(from.becomes.stem, from.layer) {
                half @ (DType::F16 | DType::Bf16) => half,
                _ => DType::F32,
            };
        inherit::assemble_slices(sources, slices, what, self.seed, stored, &Device::Cpu)
    }

    fn recipe(&self) -> Result<Recipe> {
        if let Some(file) = &self.slices {
            let yaml =
                file::read_text(file, LARGEST).with_context(|| text::path(file).to_string())?;
            let slices = Slices::parse(&yaml).with_context(|| text::path(file).to_string())?;
            let base = file.parent().unwrap_or(Path::new(""));
            let name = |model: &String| match base.join(exact::to_path(model)) {
                path if path.exists() => Ok(exact::to_text(&path).into_owned()),
                _ if model.contains('+') => Err(exit::usage(&format!(
                    "{}: an adapter (LoRA) behind a + is not supported; merge it into the model first",
                    text::clean(model)
                ))),
                _ => Ok(model.clone()),
            };
            let names = slices.models.iter().map(name);
            let names: Vec<String> = names.collect::<Result<_, _>>()?;
            let layers = slices.layers.clone();
            let mut recipe = self.opened(names, |_, _| Ok((layers, None)))?;
            recipe.slices = Some(slices);
            return Ok(recipe);
        }
        let name = self.from.clone().unwrap_or_default();
        self.opened(vec![name], |files, located| {
            let n_layer = files[0].config.n_layer;
            let choice = self.choice()?;
            let auto = choice == LayerChoice::Auto;
            if self.ranks.is_some() && !auto {
                return Err(exit::usage("--ranks needs --layers auto").into());
            }
            if choice.measure().is_none()
                && let Some(option) = self.measuring.given()
            {
                let names = "influence:n, angular:n and loss:n";
                return Err(exit::usage(&format!(
                    "{option} needs layers chosen by a measurement: --layers {names}"
                ))
                .into());
            }
            let ranks = match (&self.ranks, auto) {
                (Some(file), true) => ranks::ranks(file, n_layer)?,
                (None, true) => {
                    return Err(exit::usage(
                        "--layers auto needs the ranks of the reference's layers: --ranks FILE",
                    )
                    .into());
                }
                (_, false) => Vec::new(),
            };
            let mut found = None;
            let chosen = inherit::resolve(&choice, n_layer, &ranks, |measure, keep| {
                let taken = self.measuring.take(&files[0], &located[0], measure, keep)?;
                let measured = taken.measured.clone();
                found = Some(taken);
                anyhow::Ok(Some(measured))
            })?;
            let layers = chosen.map_or(Vec::new(), |chosen| chosen.layers);
            let taken = |&layer: &usize| Taken { source: 0, layer };
            Ok((layers.iter().map(taken).collect(), found))
        })
    }

    /// Parses `--layers`.
    fn choice(&self) -> Result<LayerChoice> {
        let shown = text::clean(&self.layers);
        let usage = |what: String| Err(exit::usage(&what).into());
        match LayerChoice::parse(&self.layers) {
            Some(LayerChoice::Spread(0) | LayerChoice::Measured(_, 0)) => {
                usage(format!("--layers {shown:?} must keep at least 1 layer"))
            }
            Some(choice) => Ok(choice),
            None => {
                let near = nearest_layers(self.layers.trim());
                let hint = near.map_or(String::new(), |n| format!("; did you mean {n}?"));
                usage(format!(
                    "--layers {shown:?} must be a number, a range 8..16, a list 0,2,5, half, auto, spread:n, influence:n, angular:n or loss:n{hint}"
                ))
            }
        }
    }

    fn opened(
        &self,
        names: Vec<String>,
        layers: impl FnOnce(&[Files], &[Located]) -> Result<(Vec<Taken>, Option<Found>)>,
    ) -> Result<Recipe> {
        let mut files = Vec::new();
        let mut all = Vec::new();
        for name in &names {
            let located = super::find::found(name, &self.global.runs)?;
            let context = || format!("{} cannot be read", text::clean(name));
            files.push(Files::open(&located.path).with_context(context)?);
            all.push(located);
        }
        let (layers, found) = layers(&files, &all)?;
        Ok(Recipe {
            layers,
            names,
            files,
            located: all,
            slices: None,
            found,
        })
    }
}
