//! Models of the Hugging Face hub in its standard cache: `models--OWNER--NAME/refs/REVISION` holds a commit, and
//! `snapshots/COMMIT` the files. Missing files are fetched if the feature `hub` is built in; otherwise the error
//! describes how to fetch them.

use std::path::{Path, PathBuf};

use crate::file;
use crate::tensors::TensorError;
use crate::text;

/// Why a name cannot be resolved to a model of the hub. Foreign texts in these errors are sanitised; paths are sanitised when the
/// error is printed.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    #[error("hf:{name} names no model of the hub; write hf:OWNER/NAME or hf:OWNER/NAME@REVISION")]
    HubName { name: String },
    #[error(
        "{name} at revision {revision} is not in the hub's cache at {}; fetch it with \
         `hf download {name} --revision {revision}` (pip install huggingface_hub; a gated model needs its licence accepted \
         on huggingface.co and `hf auth login` first), or name a directory",
        text::path(cache)
    )]
    NotCached {
        name: String,
        revision: String,
        cache: PathBuf,
    },
    #[error(
        "the hub's cache has no directory: set HF_HUB_CACHE, HF_HOME or HOME, or name a model's directory instead of \
         hf:{name}"
    )]
    NoCache { name: String },
    #[error(
        "{name} at revision {revision} is missing or incomplete in the hub's cache at {}, and HF_HUB_OFFLINE is set; \
         unset it, or name a directory",
        text::path(cache)
    )]
    Offline {
        name: String,
        revision: String,
        cache: PathBuf,
    },
    #[error(
        "{endpoint} cannot be reached ({why}), and the hub's cache at {} has no complete copy of {name}; check the \
         network, HF_ENDPOINT and HTTPS_PROXY, or name a directory",
        text::path(cache)
    )]
    Unreachable {
        endpoint: String,
        why: String,
        name: String,
        cache: PathBuf,
    },
    #[error(
        "{endpoint} has no {name} at revision {revision}; check the spelling (a private model needs HF_TOKEN or \
         `hf auth login`)"
    )]
    NotThere {
        endpoint: String,
        name: String,
        revision: String,
    },
    #[error(
        "{endpoint} refuses {name} (HTTP status {status}): it is gated, private or not there; accept its licence on \
         https://huggingface.co/{name}, then set HF_TOKEN or run `hf auth login` ({})",
        if *token { "the token that was found has no access" } else { "no token was found" }
    )]
    NoAccess {
        endpoint: String,
        name: String,
        status: u16,
        token: bool,
    },
    #[error("HF_ENDPOINT cannot be used: {what}; an example is https://huggingface.co")]
    Endpoint { what: String },
    #[error("{name} cannot be fetched from {endpoint}: {why}")]
    Refused {
        endpoint: String,
        name: String,
        why: String,
    },
    #[error(
        "the connection to {endpoint} broke in {name}/{file} ({why}); what was downloaded is kept; run the same \
         command again to continue"
    )]
    Broken {
        endpoint: String,
        name: String,
        file: String,
        why: String,
    },
    #[error(
        "{name}/{file} cannot be written to the hub's cache at {}: {why}; HF_HOME moves the cache",
        text::path(cache)
    )]
    Disk {
        name: String,
        file: String,
        cache: PathBuf,
        why: String,
    },
    #[error(
        "{name} on the hub has {has}, {lacks}; give a model with config.json and safetensors{advice}"
    )]
    NotAModel {
        name: String,
        has: &'static str,
        lacks: &'static str,
        advice: String,
    },
    /// Pickles where safetensors should be, or an index of shards that cannot be used.
    #[error(transparent)]
    Tensors(#[from] TensorError),
}

/// The default revision.
const MAIN: &str = "main";
/// Most bytes of a file that holds a commit.
const LARGEST_REF: u64 = 4 << 10;

/// Returns the place of the cache, by the same rules as the hub's own tools.
pub(super) fn cache() -> Option<PathBuf> {
    let set = |key: &str| {
        std::env::var_os(key)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    set("HF_HUB_CACHE")
        .or_else(|| set("HF_HOME").map(|home| home.join("hub")))
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("huggingface/hub")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/huggingface/hub")))
}

/// A model's directory, and a notice if its content may differ from the hub's present one.
pub(super) struct Found {
    pub path: PathBuf,
    pub notice: Option<String>,
}

/// The kind of a repository of the hub. The two kinds have separate names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Model,
    #[cfg(feature = "hub")]
    Dataset,
}

/// A name of the hub, split and checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name<'a> {
    /// `OWNER/NAME`.
    pub model: &'a str,
    /// A branch, a tag or a commit; [`MAIN`] by default.
    pub revision: &'a str,
    pub kind: Kind,
}

impl<'a> Name<'a> {
    /// Reads `OWNER/NAME` or `OWNER/NAME@REVISION`.
    pub fn read(name: &'a str) -> Result<Self, HubError> {
        let (model, revision) = name.split_once('@').unwrap_or((name, MAIN));
        // A revision may be a branch with a slash in its name.
        let fits = model.split_once('/').is_some_and(|(owner, own)| {
            let mut parts = [owner, own].into_iter().chain(revision.split('/'));
            parts.all(is_part)
        });
        if fits {
            return Ok(Self {
                model,
                revision,
                kind: Kind::Model,
            });
        }
        Err(HubError::HubName {
            name: text::clean(name).into_owned(),
        })
    }

    /// Makes the name of a data set.
    #[cfg(feature = "hub")]
    pub fn of_dataset(name: &'a str, revision: &'a str) -> Self {
        Self {
            model: name,
            revision,
            kind: Kind::Dataset,
        }
    }

    /// Returns the directory of this model or data set in the cache.
    pub fn dir(&self, cache: &Path) -> PathBuf {
        let kind = match self.kind {
            Kind::Model => "models",
            #[cfg(feature = "hub")]
            Kind::Dataset => "datasets",
        };
        cache.join(format!("{kind}--{}", self.model.replace('/', "--")))
    }

    /// Returns its snapshot in the cache.
    ///
    /// # Errors
    /// [`HubError::NotCached`].
    pub fn cached(&self, cache: &Path) -> Result<PathBuf, HubError> {
        let (dir, revision) = (self.dir(cache), self.revision);
        let commit = file::read_text(&dir.join("refs").join(revision), LARGEST_REF);
        // A name that is neither a branch nor a tag may be a commit itself.
        let commit = commit.map_or_else(|_| revision.into(), |text| text.trim().to_string());
        let snapshot = dir.join("snapshots").join(&commit);
        if is_part(&commit) && snapshot.is_dir() {
            return Ok(snapshot);
        }
        Err(HubError::NotCached {
            name: self.model.into(),
            revision: revision.into(),
            cache: cache.into(),
        })
    }
}

/// Returns the directory of `OWNER/NAME` or `OWNER/NAME@REVISION` in the cache.
pub(super) fn cached(name: &str, cache: Option<&Path>) -> Result<PathBuf, HubError> {
    let wanted = Name::read(name)?;
    let cache = cache.ok_or_else(|| HubError::NoCache { name: name.into() })?;
    wanted.cached(cache)
}

/// Whether this is a valid part of a name of the hub, and not a path that leads out of the cache.
pub(super) fn is_part(part: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !part.is_empty() && !part.starts_with(['.', '-']) && part.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_the_hubs_tools_have_fetched_is_found() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("models--HuggingFaceTB--SmolLM2-135M");
        let snapshot = dir.join("snapshots/12fd25f77366fa6b3b4b768ec3050bf629380bac");
        fs::create_dir_all(&snapshot).unwrap();
        fs::create_dir_all(dir.join("refs/pr")).unwrap();
        let commit = "12fd25f77366fa6b3b4b768ec3050bf629380bac";
        fs::write(dir.join("refs/main"), commit).unwrap();
        fs::write(dir.join("refs/pr/1"), commit).unwrap();
        fs::write(dir.join("refs/bad"), "../refs").unwrap();
        let find = |name: &str| cached(name, Some(tmp.path()));
        let name = "HuggingFaceTB/SmolLM2-135M";
        for revision in ["", "@main", "@pr/1", &format!("@{commit}")] {
            assert_eq!(find(&format!("{name}{revision}")).unwrap(), snapshot);
        }
        for (name, wanted) in [
            (
                "HuggingFaceTB/SmolLM2-135M@v2",
                "fetch it with `hf download HuggingFaceTB/SmolLM2-135M --revision v2`",
            ),
            (
                "HuggingFaceTB/SmolLM2-135M@bad",
                "is not in the hub's cache",
            ),
            (
                "openai-community/gpt2",
                "at revision main is not in the hub's cache",
            ),
            (
                "gpt2",
                "hf:gpt2 names no model of the hub; write hf:OWNER/NAME",
            ),
            ("../x", "names no model of the hub"),
            ("a/b@../main", "names no model of the hub"),
            ("a/b\u{1b}[2J", "hf:a/b names no model of the hub"),
            ("a/b/c", "names no model of the hub"),
        ] {
            let told = find(name).unwrap_err().to_string();
            assert!(told.contains(wanted), "{told}");
        }
        let told = cached("a/b", None).unwrap_err().to_string();
        assert!(told.contains("instead of hf:a/b"), "{told}");
    }
}
