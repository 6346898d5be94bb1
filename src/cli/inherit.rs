//! `heirloom inherit`: a new model from the layers of others.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::Device;

use super::{Global, exit, say};
use crate::config::{INHERITABLE, LayerChoice, PARTS};
use crate::export;
use crate::file;
use crate::inherit::{self, Ends, InheritError, Origin, Slices, Taken};
use crate::locate::Located;
use crate::model::{self, Decoder, DecoderConfig, Files, Part, Weights};
use crate::run::table::{aligned, count, plural};
use crate::tensors::{DType, Output, Source, check_space};
use crate::text::{self, exact};

/// Most bytes of a slices file or a rank report.
const LARGEST: u64 = 16 << 20;

/// Make a model from the layers of another
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long, value_name = "MODEL", required_unless_present = "slices", help = super::values::MODEL, value_parser = super::values::exact_text())]
    from: Option<String>,
    /// Layers to take: a number of first ones, a range (8..16, without 16), a list (0,2,5), half, or auto: as many as
    /// half, but none from the first collapsing layer on (needs --ranks)
    #[arg(
        long,
        value_name = "LAYERS",
        default_value = "half",
        conflicts_with = "slices"
    )]
    layers: String,
    /// Take layers and scale them as a passthrough recipe of mergekit says (YAML); its models are paths, from the file's
    /// directory on
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    slices: Option<PathBuf>,
    /// What comes along; the rest starts random. norms are both norms of a layer; attention_norm and mlp_norm name one of
    /// them
    #[arg(long, value_name = "PARTS", value_delimiter = ',', default_values = INHERITABLE.map(Part::name))]
    what: Vec<String>,
    /// MaxRank by layer for auto: JSON with "max_rank" (of `heirloom show --json`, too), or a file of a run's rank/
    #[arg(long, value_name = "FILE")]
    ranks: Option<PathBuf>,
    /// Seed of what starts random
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The directory to write
    #[arg(long, value_name = "DIR", required_unless_present = "dry_run")]
    out: Option<PathBuf>,
    /// Replace an existing model
    #[arg(long)]
    force: bool,
    /// Print what would come from where, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    global: Global,
}

/// What a new model is made of.
struct Recipe {
    names: Vec<String>,
    files: Vec<Files>,
    located: Vec<Located>,
    layers: Vec<Taken>,
    /// What the layers are from, unless it is `--layers`.
    slices: Option<Slices>,
}

/// Refuses a recipe of tied models whose last one has a head in its file, too.
fn check_heads(recipe: &Recipe) -> Result<()> {
    let ends = recipe.ends();
    if ends.first != ends.last && recipe.files[ends.last].stores_tied_head() {
        bail!(exit::usage(&format!(
            "{}: its head is tied to its embedding, and its file has lm_head.weight, too. mergekit takes that one for the head of a \
             model whose embedding is another one's, which is not tied any more: for such a model, set tie_word_embeddings to \
             false in the config.json of every model of the recipe; for a tied one, leave lm_head.weight out of the file",
            text::clean(&recipe.names[ends.last])
        )));
    }
    Ok(())
}

impl Recipe {
    fn ends(&self) -> Ends {
        self.slices.as_ref().map_or(Ends::default(), |s| s.ends)
    }

    /// The model whose tokenizer goes along.
    fn tokenizer_of(&self) -> usize {
        self.slices.as_ref().and_then(|s| s.base).unwrap_or(0)
    }

    /// What the tensors of a new model of this shape are multiplied by and written as; nothing when they stay as they are.
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
            out.push_str("chat_template is not used: it is for files that are not written\n");
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
        // The weights, and a copy on their way to the disk.
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

    /// The parts that are taken.
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

    /// The new model, and what each of its tensors is written as: F32, unless a recipe says otherwise.
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
            let mut recipe = self.opened(names, |_| Ok(slices.layers.clone()))?;
            recipe.slices = Some(slices);
            return Ok(recipe);
        }
        let name = self.from.clone().unwrap_or_default();
        self.opened(vec![name], |files| {
            let n_layer = files[0].config.n_layer;
            let choice = LayerChoice::parse(&self.layers).ok_or_else(|| {
                exit::usage(&format!(
                    "--layers {:?} is none of: a number, a range 8..16, a list 0,2,5, half, auto",
                    text::clean(&self.layers)
                ))
            })?;
            let auto = choice == LayerChoice::Auto;
            if self.ranks.is_some() && !auto {
                return Err(exit::usage("--ranks is for --layers auto").into());
            }
            let ranks = match (&self.ranks, auto) {
                (Some(file), true) => ranks(file, n_layer)?,
                (None, true) => {
                    return Err(exit::usage(
                        "--layers auto needs the ranks of the reference's layers: --ranks FILE",
                    )
                    .into());
                }
                (_, false) => Vec::new(),
            };
            let layers = inherit::choose(&choice, n_layer, &ranks)?;
            let taken = |&layer: &usize| Taken { source: 0, layer };
            Ok(layers.iter().map(taken).collect())
        })
    }

    fn opened(
        &self,
        names: Vec<String>,
        layers: impl FnOnce(&[Files]) -> Result<Vec<Taken>>,
    ) -> Result<Recipe> {
        let mut files = Vec::new();
        let mut all = Vec::new();
        for name in &names {
            let located = super::find::found(name, &self.global.runs)?;
            let context = || format!("{} cannot be read", text::clean(name));
            files.push(Files::open(&located.path).with_context(context)?);
            all.push(located);
        }
        Ok(Recipe {
            layers: layers(&files)?,
            names,
            files,
            located: all,
            slices: None,
        })
    }

    /// What comes from where, and how many parameters that is.
    fn table(&self, recipe: &Recipe, shape: &DecoderConfig, what: &[Part]) -> String {
        let params = shape.params();
        let size = |part: Part, layer: Option<usize>| -> u64 {
            let of = params
                .iter()
                .filter(|p| part.contains(p.part) && p.layer == layer);
            of.map(|p| p.len() as u64).sum()
        };
        let taken = inherit::parts(what, shape.tied_head);
        let label = |source: usize, what: &str| match recipe.names.len() {
            1 => what.to_string(),
            _ => format!("{} {what}", text::clean(&recipe.names[source])),
        };
        let mut rows =
            vec![["layer", "comes from", "at random", "parameters", "scale"].map(String::from)];
        let mut row =
            |name: String, from: String, parts: &[Part], layer: Option<usize>, scale: String| {
                let there: Vec<Part> = parts
                    .iter()
                    .copied()
                    .filter(|p| size(*p, layer) > 0)
                    .collect();
                if there.is_empty() {
                    return;
                }
                let random: Vec<&str> = there
                    .iter()
                    .filter(|p| !taken.contains(p))
                    .map(|p| p.name())
                    .collect();
                let all_random = random.len() == there.len();
                rows.push([
                    name,
                    if all_random { "-".into() } else { from },
                    match random.len() {
                        0 => String::new(),
                        _ if all_random => "all".into(),
                        _ => random.join(" "),
                    },
                    count(there.iter().map(|p| size(*p, layer)).sum()),
                    scale,
                ]);
            };
        for part in [Part::Embeddings, Part::Positions] {
            row(
                part.name().into(),
                label(recipe.ends().source(part), part.name()),
                &[part],
                None,
                String::new(),
            );
        }
        let norms: &[Part] =
            match [Part::AttentionNorm, Part::MlpNorm].map(|norm| taken.contains(&norm)) {
                [a, b] if a == b => &[Part::Norms],
                _ => &[Part::AttentionNorm, Part::MlpNorm],
            };
        let parts = [norms, &[Part::Attention, Part::Mlp]].concat();
        for (i, t) in recipe.layers.iter().enumerate() {
            let scale = match shape.attention_scales[i] {
                1.0 => String::new(),
                s => format!("{s:.4}"),
            };
            let from = label(t.source, &format!("layer {}", t.layer));
            row(i.to_string(), from, &parts, Some(i), scale);
        }
        for part in [Part::FinalNorm, Part::Head] {
            let name = part.name().replace('_', " ");
            let from = label(recipe.ends().source(part), &name);
            row(name, from, &[part], None, String::new());
        }
        let mut out = aligned(&rows, &[0, 1, 2]);
        let all: u64 = recipe.files[0].config.parameters();
        let reference = &recipe.files[0].config;
        out.push_str(&format!(
            "\n{} parameters in {}; the reference has {} in {}\n",
            count(shape.parameters()),
            plural(shape.n_layer, "layer"),
            count(all),
            reference.n_layer
        ));
        out.push_str(&recipe.changes(shape));
        out
    }
}

/// MaxRank by layer, from JSON or from a probe's file.
fn ranks(path: &Path, n_layer: usize) -> Result<Vec<f64>> {
    let shown = text::path(path).to_string();
    let ranks: Vec<f64> = if path.extension().is_some_and(|e| e == "safetensors") {
        let source = Source::open(path)?;
        let heads = source.info("rank").filter(|info| info.shape.len() == 2);
        let Some(info) = heads else {
            bail!("{shown} holds no ranks by layer and head");
        };
        let mut values = vec![0.0; info.len()];
        source.read_into("rank", &mut values)?;
        let max = |heads: &[f32]| heads.iter().fold(0f64, |a, &x| a.max(f64::from(x)));
        values.chunks(info.row().max(1)).map(max).collect()
    } else {
        let text = file::read_text(path, LARGEST).with_context(|| shown.clone())?;
        let json: serde_json::Value =
            serde_json::from_str(&text).with_context(|| format!("{shown} is no JSON"))?;
        let found = [&json["max_rank"], &json["reference"]["max_rank"]];
        let found = found.into_iter().find(|v| v.is_array());
        let found = found.with_context(|| format!("{shown} has no list \"max_rank\""))?;
        serde_json::from_value(found.clone())
            .with_context(|| format!("{shown}: \"max_rank\" is no list of numbers"))?
    };
    if ranks.len() != n_layer {
        bail!(
            "{shown} tells of {} layers, the reference has {n_layer}",
            ranks.len()
        );
    }
    Ok(ranks)
}
