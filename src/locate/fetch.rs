//! Fetches models from the Hugging Face hub into its standard cache. Only files that heirloom reads are fetched:
//! config, tokenizer and safetensors; of data sets, chosen folders. A revision's name points to a snapshot only when all of it has been fetched. No
//! more bytes are accepted of a file than the hub has announced.

mod dataset;
mod download;
mod environment;

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::hub::{self, Found, HubError, Kind, Name};
use super::request::{Client, RequestError};
use crate::corpus::tokenizer::{COMPANIONS, TOKENIZER};
use crate::file::{self, Dir};
use crate::tensors::{self, INDEX, MODEL, PICKLES, TensorError};
use crate::text;

pub(super) use dataset::dataset;
pub(super) use environment::{is_offline, token, variable};

/// Describes a model's shape; required.
const CONFIG: &str = "config.json";
pub(super) const HUGGING_FACE: &str = "https://huggingface.co";
/// Most bytes of a list of files.
const LARGEST_LIST: u64 = 16 << 20;
/// Most files of weights of one model; the largest models have some hundreds.
const MOST_SHARDS: usize = 10_000;

/// The files of a revision, and its commit.
#[derive(Debug, Deserialize)]
struct Listing {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Debug, Deserialize)]
struct Sibling {
    rfilename: String,
}

/// Returns the snapshot of `OWNER/NAME` or `OWNER/NAME@REVISION`, with everything that is needed in it. The hub
/// resolves the revision, and files that the cache lacks are fetched. With `HF_HUB_OFFLINE`, or when the hub does not
/// answer, the copy in the cache is used if it is complete.
pub(super) fn fetch(name: &str, cache: Option<&Path>) -> Result<Found, HubError> {
    let wanted = Name::read(name)?;
    let cache = cache.ok_or_else(|| HubError::NoCache { name: name.into() })?;
    let kept = || {
        let dir = hub::cached(name, Some(cache)).ok();
        dir.filter(|dir| is_whole(dir))
    };
    if is_offline() {
        let path = kept().ok_or_else(|| HubError::Offline {
            name: wanted.model.into(),
            revision: wanted.revision.into(),
            cache: cache.into(),
        })?;
        return Ok(Found { path, notice: None });
    }
    let hub = Hub::new(wanted, cache)?;
    let error = match hub.ask() {
        Ok(info) => {
            let path = hub.bring(&info)?;
            return Ok(Found { path, notice: None });
        }
        Err(error) => error,
    };
    if let HubError::Unreachable { why, .. } | HubError::Refused { why, .. } = &error
        && let Some(path) = kept()
    {
        let notice = format!(
            "the copy in {}: {} gave no usable answer ({why})",
            text::path(&path),
            hub.client.endpoint,
        );
        return Ok(Found {
            path,
            notice: Some(notice),
        });
    }
    Err(error)
}

/// Whether a directory has a config and all of its safetensors.
fn is_whole(dir: &Path) -> bool {
    let is_there = |name: &str| dir.join(name).is_file();
    let has_shards = || {
        tensors::shards_of(&dir.join(INDEX))
            .is_ok_and(|map| map.values().all(|name| is_there(name)))
    };
    is_there(CONFIG) && (is_there(MODEL) || has_shards())
}

/// One model or data set of the hub, and the cache for it.
struct Hub<'a> {
    wanted: Name<'a>,
    cache: PathBuf,
    client: Client,
}

impl<'a> Hub<'a> {
    fn new(wanted: Name<'a>, cache: &Path) -> Result<Self, HubError> {
        let endpoint = variable("HF_ENDPOINT");
        let endpoint = endpoint.as_deref().unwrap_or(HUGGING_FACE);
        let token = token();
        if token.is_some() {
            crate::secrets::keep_out_of_core_dumps();
        }
        let client = Client::new(endpoint, token);
        Ok(Self {
            wanted,
            // The cache's links are relative to it; this fails only for an empty path.
            cache: std::path::absolute(cache).unwrap_or_else(|_| cache.into()),
            client: client.map_err(|what| HubError::Endpoint { what })?,
        })
    }

    /// Returns the address of a file of a commit.
    fn url(&self, commit: &str, name: &str) -> String {
        let (endpoint, model) = (&self.client.endpoint, self.wanted.model);
        let datasets = match self.wanted.kind {
            Kind::Model => "",
            Kind::Dataset => "datasets/",
        };
        format!("{endpoint}/{datasets}{model}/resolve/{commit}/{name}")
    }

    /// Requests the list of files of the revision, and its commit.
    fn ask(&self) -> Result<Listing, HubError> {
        let (endpoint, model) = (&self.client.endpoint, self.wanted.model);
        let revision = self.wanted.revision.replace('/', "%2F");
        let kind = match self.wanted.kind {
            Kind::Model => "models",
            Kind::Dataset => "datasets",
        };
        let url = format!("{endpoint}/api/{kind}/{model}/revision/{revision}");
        let mut answer = self
            .client
            .get(&url, None, LARGEST_LIST)
            .map_err(|e| self.failed(e))?;
        let body = answer.body_mut().with_config().limit(LARGEST_LIST);
        let list: Listing = body.read_json().map_err(|e| self.failed(e.into()))?;
        if hub::is_part(&list.sha) {
            return Ok(list);
        }
        Err(self.refused("the answer names no commit"))
    }

    /// Fetches the files that the cache lacks, and returns the snapshot.
    fn bring(&self, info: &Listing) -> Result<PathBuf, HubError> {
        let names: HashSet<&str> = info.siblings.iter().map(|s| s.rfilename.as_str()).collect();
        let has = |name: &str| names.contains(name);
        self.check(&has, info)?;
        let dir = self.wanted.dir(&self.cache);
        let snapshot = dir.join("snapshots").join(&info.sha);
        let bring = |name: &str| {
            if snapshot.join(name).is_file() {
                return Ok(());
            }
            self.bring_file(&dir, &info.sha, name)
        };
        bring(CONFIG)?;
        // Fetched before the weights, so that a snapshot with weights is complete.
        [TOKENIZER]
            .into_iter()
            .chain(COMPANIONS)
            .filter(|name| has(name))
            .try_for_each(bring)?;
        if has(MODEL) {
            bring(MODEL)?;
        } else {
            bring(INDEX)?;
            let mut shards: Vec<String> = tensors::shards_of(&snapshot.join(INDEX))?
                .into_values()
                .collect();
            shards.sort_unstable();
            shards.dedup();
            if shards.len() > MOST_SHARDS {
                return Err(self.refused(&format!(
                    "{INDEX} names {} files; at most {MOST_SHARDS} are expected",
                    shards.len()
                )));
            }
            // Names become paths: only those that the hub also lists, and that stay in the snapshot, are used.
            let is_plain = |s: &str| s.split('/').all(hub::is_part);
            if let Some(odd) = shards.iter().find(|s| !is_plain(s) || !has(s)) {
                let odd = text::clean(odd);
                return Err(self.refused(&format!("{INDEX} names {odd}, which it does not have")));
            }
            shards.iter().try_for_each(|name| bring(name))?;
        }
        self.point(&dir, &info.sha)?;
        Ok(snapshot)
    }

    /// Refuses a repository without a config or safetensors.
    fn check(&self, has: &dyn Fn(&str) -> bool, info: &Listing) -> Result<(), HubError> {
        let name = self.wanted.model;
        let gguf = info
            .siblings
            .iter()
            .find(|s| s.rfilename.ends_with(".gguf"));
        let (has_tensors, pickle) = (has(MODEL) || has(INDEX), PICKLES.iter().find(|p| has(p)));
        match (has(CONFIG), has_tensors, pickle, gguf) {
            (true, true, ..) => Ok(()),
            (_, false, Some(pickle), None) => Err(HubError::Tensors(TensorError::Pickle {
                path: format!("{}{name}/{pickle}", super::HUB).into(),
            })),
            (is_model, _, _, gguf) => Err(HubError::NotAModel {
                name: name.into(),
                has: if gguf.is_some() {
                    "GGUF files"
                } else {
                    "other files"
                },
                lacks: if is_model {
                    "no safetensors"
                } else {
                    "no config.json"
                },
                advice: gguf.map_or_else(String::new, |file| {
                    let file = text::clean(&file.rfilename);
                    format!(", or fetch one file, `hf download {name} {file}`, and name its path")
                }),
            }),
        }
    }

    /// Points the revision's name to this commit, after all of it was fetched.
    fn point(&self, dir: &Path, commit: &str) -> Result<(), HubError> {
        if self.wanted.revision == commit {
            return Ok(());
        }
        let path = dir.join("refs").join(self.wanted.revision);
        let write = || {
            ensure(path.parent().unwrap_or(dir))?;
            file::replace(&path, commit.as_bytes())
        };
        write().map_err(|e| self.disk("refs", &e))
    }

    fn disk(&self, file: &str, why: &io::Error) -> HubError {
        HubError::Disk {
            name: self.wanted.model.into(),
            file: file.into(),
            cache: self.cache.clone(),
            why: why.to_string(),
        }
    }

    fn broken(&self, file: &str, why: &str) -> HubError {
        HubError::Broken {
            endpoint: self.client.endpoint.clone(),
            name: self.wanted.model.into(),
            file: file.into(),
            why: self.client.clean(why),
        }
    }

    fn refused(&self, why: &str) -> HubError {
        HubError::Refused {
            endpoint: self.client.endpoint.clone(),
            name: self.wanted.model.into(),
            why: why.into(),
        }
    }

    /// Converts the error of a request into one for the user.
    fn failed(&self, error: RequestError) -> HubError {
        let (endpoint, name) = (self.client.endpoint.clone(), self.wanted.model.to_string());
        let error = match error {
            RequestError::Answer(why) => {
                return self.refused(&format!("unexpected answer: {why}"));
            }
            RequestError::Http(error) => *error,
        };
        let why = self.client.clean(&error.to_string());
        match error {
            ureq::Error::StatusCode(404) => HubError::NotThere {
                endpoint,
                name,
                revision: self.wanted.revision.into(),
            },
            ureq::Error::StatusCode(status @ (401 | 403)) => HubError::NoAccess {
                endpoint,
                name,
                status,
                token: self.client.has_token(),
            },
            ureq::Error::StatusCode(429) => {
                self.refused("too many requests (HTTP status 429); try again later")
            }
            ureq::Error::StatusCode(status) => self.refused(&format!("HTTP status {status}")),
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
                self.refused(&format!("{why}; check HF_ENDPOINT and HF_TOKEN"))
            }
            ureq::Error::Json(_) | ureq::Error::BodyExceedsLimit(_) => {
                self.refused(&format!("the answer is not a list of files ({why})"))
            }
            _ => HubError::Unreachable {
                endpoint,
                why,
                name,
                cache: self.cache.clone(),
            },
        }
    }
}

/// Opens a directory, and makes it and its parents if they are missing.
fn ensure(path: &Path) -> io::Result<Dir> {
    file::create_dirs(path)?;
    Dir::open(path)
}
