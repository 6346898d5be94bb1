//! Ways of computing a step on a GPU that are off by default, until a GPU has shown that they are correct and faster. The variable
//! `HEIRLOOM_GPU` names those to be used; `docs/gpu.md` has their effects.

use std::sync::OnceLock;

/// The variable that names features, with commas between them.
pub const VARIABLE: &str = "HEIRLOOM_GPU";

/// Names every feature.
const ALL: &str = "all";

/// A way of computing a step on a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GpuFeature {
    /// The first pass of a step writes the gradients of weights, which are not zeroed before.
    WriteGradients,
    /// With bf16, the gradient of the residual stream is also bf16, and not f32 with a rounded copy.
    Bf16Gradients,
    /// The passes of a step are queued as one CUDA graph.
    Graph,
    /// Biases' gradients are summed up in the products of weights' gradients.
    BiasEpilogue,
    /// Products use the fastest of cuBLASLt's first choices, timed once ([`super::algorithms`]).
    TimedProducts,
}

impl GpuFeature {
    /// All features, in the order of [`GpuFeature`], with their names.
    const NAMES: [(Self, &str); 5] = [
        (Self::WriteGradients, "write-gradients"),
        (Self::Bf16Gradients, "bf16-gradients"),
        (Self::Graph, "graph"),
        (Self::BiasEpilogue, "bias-epilogue"),
        (Self::TimedProducts, "timed-products"),
    ];

    /// Whether `HEIRLOOM_GPU` names this feature.
    pub fn is_on(self) -> bool {
        Self::all_named().contains(&self)
    }

    /// Returns the names of all features that `HEIRLOOM_GPU` names, if any.
    pub fn named_in_words() -> Option<String> {
        let on = Self::NAMES.iter().filter(|(feature, _)| feature.is_on());
        let names: Vec<_> = on.map(|(_, name)| *name).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }

    fn all_named() -> &'static [Self] {
        static NAMED: OnceLock<Vec<GpuFeature>> = OnceLock::new();
        NAMED.get_or_init(|| named().unwrap_or_default())
    }
}

/// Checks that `HEIRLOOM_GPU` names features that exist.
///
/// # Errors
/// Names the unknown feature, and lists the known ones.
pub fn check_gpu_features() -> Result<(), String> {
    named().map(|_| ())
}

fn named() -> Result<Vec<GpuFeature>, String> {
    match std::env::var_os(VARIABLE) {
        None => Ok(Vec::new()),
        Some(list) => parse(&list.to_string_lossy()),
    }
}

fn parse(list: &str) -> Result<Vec<GpuFeature>, String> {
    let mut found = Vec::new();
    for name in list
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
    {
        let mut all = GpuFeature::NAMES.iter();
        match all.find(|(_, known)| *known == name) {
            Some((feature, _)) => found.push(*feature),
            None if name == ALL => found.extend(GpuFeature::NAMES.map(|(feature, _)| feature)),
            None => {
                let known = GpuFeature::NAMES.map(|(_, known)| known).join(", ");
                return Err(format!(
                    "{VARIABLE} names {name:?}, which is not a feature; the features are {known}, and {ALL} for all of them"
                ));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_read_from_a_list() {
        assert_eq!(parse(""), Ok(Vec::new()));
        let one = vec![GpuFeature::WriteGradients];
        assert_eq!(parse(" write-gradients,"), Ok(one));
        let all = GpuFeature::NAMES.map(|(feature, _)| feature).to_vec();
        assert_eq!(parse("all"), Ok(all));
    }

    #[test]
    fn an_unknown_feature_is_an_error_that_names_the_known_ones() {
        let error = parse("write-gradients,warp-drive").unwrap_err();
        assert!(error.contains("\"warp-drive\""), "{error}");
        for (_, name) in GpuFeature::NAMES {
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn features_stand_in_order() {
        for (i, (feature, _)) in GpuFeature::NAMES.iter().enumerate() {
            assert_eq!(*feature as usize, i);
        }
    }
}
