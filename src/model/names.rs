//! Maps parameters to a file's tensors, including files of models that were saved inside a wrapper.

use std::collections::HashMap;

use super::arena::Param;
use super::part::Part;
use crate::tensors::Source;
use crate::text;

/// Prefixes of names that were saved from a complete model, or from a model inside a wrapper: transformers' own models
/// (`model`, `transformer`), data-parallel ones (`module`), compiled ones (`_orig_mod`) and PEFT's
/// (`base_model.model`).
const PREFIXES: [&str; 5] = ["_orig_mod", "module", "base_model", "model", "transformer"];
/// Compiled layers also have this part within their names.
const COMPILED: &str = "_orig_mod";
const HEAD: &str = "lm_head.weight";

/// The tensors of a file, by their names without [`PREFIXES`].
pub(super) struct Names<'s> {
    source: &'s Source,
    listed: HashMap<String, Vec<&'s str>>,
    /// Tensors that an index of shards leaves out.
    unlisted: HashMap<String, Vec<&'s str>>,
}

impl<'s> Names<'s> {
    pub fn of(source: &'s Source) -> Self {
        Self {
            source,
            listed: by_bare_name(source.names()),
            unlisted: by_bare_name(source.unlisted_names()),
        }
    }

    /// Returns the file's name of a parameter: its full name if it exists, or else the one tensor that has it after
    /// other prefixes. A tied pair is one tensor under either name.
    ///
    /// # Errors
    /// When the file lacks the tensor, or several fit.
    pub fn find(&self, p: &Param, tied_head: bool) -> Result<&'s str, String> {
        let mut names = vec![p.name.as_str()];
        if tied_head && p.part == Part::Embeddings {
            names.push(HEAD);
        }
        for name in names {
            for by_name in [&self.listed, &self.unlisted] {
                let found = by_name.get(&bare(name)).map_or(&[][..], |all| all);
                match found.iter().find(|n| **n == name).or(found.first()) {
                    None => {}
                    Some(one) if found.len() == 1 || *one == name => return Ok(one),
                    Some(_) => {
                        return Err(format!(
                            "tensor {name} may be {}: their names differ only in what comes before the model's own name",
                            shown(found, " or ")
                        ));
                    }
                }
            }
        }
        let end = format!(".{}", bare(&p.name));
        let wrapped = self.source.names().find(|name| is_wrapped(name, &end));
        if let Some(wrapped) = wrapped {
            return Err(format!(
                "tensor {} is missing; the file has {}: save the model without what is wrapped around its layers",
                p.name,
                text::clean(wrapped)
            ));
        }
        let near = self.source.names().find(|name| name.ends_with(&end));
        Err(match near {
            None => format!("tensor {} is missing", p.name),
            Some(near) => format!(
                "tensor {} is missing; the file has {}, and {} are the only prefixes that are read",
                p.name,
                text::clean(near),
                shown(&PREFIXES, ", ")
            ),
        })
    }
}

/// Whether a name has all parts of one that ends with `end`, in their order, and other parts between them.
fn is_wrapped(name: &str, end: &str) -> bool {
    let mut parts = name.split('.');
    let mut wanted = end.split('.').filter(|part| !part.is_empty());
    let has_all = wanted.all(|part| parts.any(|own| own == part));
    has_all && parts.next().is_none() && !name.ends_with(end)
}

/// Whether a tensor is an untied head.
pub(super) fn is_head(name: &str) -> bool {
    bare(name) == HEAD
}

fn by_bare_name<'s>(names: impl Iterator<Item = &'s str>) -> HashMap<String, Vec<&'s str>> {
    let mut all: HashMap<String, Vec<&str>> = HashMap::new();
    for name in names {
        all.entry(bare(name)).or_default().push(name);
    }
    all
}

/// Returns a name without the prefixes of wrappers.
fn bare(name: &str) -> String {
    let mut parts: Vec<&str> = name.split('.').filter(|part| *part != COMPILED).collect();
    let begins = parts.iter().position(|part| !PREFIXES.contains(part));
    parts.drain(..begins.unwrap_or(0));
    parts.join(".")
}

fn shown(names: &[&str], between: &str) -> String {
    text::clean(&names.join(between)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappers_are_taken_off_and_nothing_else() {
        for (name, wanted) in [
            ("model.norm.weight", "norm.weight"),
            ("model.model.norm.weight", "norm.weight"),
            ("norm.weight", "norm.weight"),
            (
                "module._orig_mod.transformer.h.0.ln_1.bias",
                "h.0.ln_1.bias",
            ),
            (
                "base_model.model.model.layers.1.mlp.up_proj.weight",
                "layers.1.mlp.up_proj.weight",
            ),
            (
                "model.layers.0._orig_mod.mlp.up_proj.weight",
                "layers.0.mlp.up_proj.weight",
            ),
            ("base_model.model.lm_head.weight", "lm_head.weight"),
            ("student.model.norm.weight", "student.model.norm.weight"),
            ("model", "model"),
        ] {
            assert_eq!(bare(name), wanted);
        }
    }

    #[test]
    fn what_is_wrapped_around_a_layer_is_recognised() {
        let end = ".layers.0.self_attn.q_proj.weight";
        for name in [
            "model.layers.0._checkpoint_wrapped_module.self_attn.q_proj.weight",
            "layers.0.module.self_attn.q_proj.weight",
            "model.layers.0.self_attn.q_proj.base_layer.weight",
        ] {
            assert!(is_wrapped(name, end), "{name}");
        }
        for name in [
            "model.layers.0.self_attn.q_proj.weight",
            "model.layers.0.self_attn.k_proj.weight",
            "model.layers.0.self_attn.q_proj.weight.scale",
        ] {
            assert!(!is_wrapped(name, end), "{name}");
        }
    }
}
