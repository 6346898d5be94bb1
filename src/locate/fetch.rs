//! Models brought from the Hugging Face hub into its standard cache. Only what heirloom reads is fetched: config,
//! tokenizer and safetensors. A revision's name points to a snapshot only when all of it is there. No more is taken of a
//! file than the hub has announced.

use std::collections::HashSet;
use std::fs;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Deserialize;

use super::hub::{self, Found, HubError, Name};
use super::request::{Client, Metadata, RequestError};
use crate::corpus::tokenizer::{COMPANIONS, TOKENIZER};
use crate::file::{self, Dir};
use crate::tensors::{self, INDEX, MODEL, PICKLES, TensorError};
use crate::text;

/// What tells of a model's shape. Nothing goes without it.
const CONFIG: &str = "config.json";
const HUGGING_FACE: &str = "https://huggingface.co";
/// How often a file is asked for when connections break; each time it goes on where it stopped.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);
/// How often another process that fetches the same file is waited for.
const LOCK_ATTEMPTS: u32 = 6;
const LOCK_PAUSE: Duration = Duration::from_secs(1);
/// Most bytes of a file with a token in it.
const LARGEST_TOKEN: u64 = 4 << 10;
/// Most bytes of a list of files.
const LARGEST_LIST: u64 = 16 << 20;
/// Files of weights of one model; the largest ones have some hundreds.
const MOST_SHARDS: usize = 10_000;
/// Bytes taken at a time.
const BLOCK: usize = 1 << 16;

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

/// The snapshot of `OWNER/NAME` or `OWNER/NAME@REVISION`, with everything that is needed in it. The hub is asked what
/// the revision means now, and what the cache lacks is fetched. With `HF_HUB_OFFLINE`, or when the hub does not answer,
/// the copy in the cache is taken if it is whole.
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
            "the copy in {}: {} gives no answer of use ({why})",
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

/// Whether a directory has a config and all its safetensors.
fn is_whole(dir: &Path) -> bool {
    let is_there = |name: &str| dir.join(name).is_file();
    let has_shards = || {
        tensors::shards_of(&dir.join(INDEX))
            .is_ok_and(|map| map.values().all(|name| is_there(name)))
    };
    is_there(CONFIG) && (is_there(MODEL) || has_shards())
}

/// A variable of the environment that says something.
fn variable(key: &str) -> Option<String> {
    let value = std::env::var(key).ok()?;
    let value = value.trim();
    (!value.is_empty()).then(|| value.to_string())
}

fn is_offline() -> bool {
    variable("HF_HUB_OFFLINE")
        .is_some_and(|v| ["1", "true", "yes", "on"].contains(&v.to_ascii_lowercase().as_str()))
}

/// `HF_TOKEN`, or what `hf auth login` has left.
fn token() -> Option<String> {
    let home = |key: &str, rest: &str| variable(key).map(|dir| Path::new(&dir).join(rest));
    let in_file = || {
        let path = variable("HF_TOKEN_PATH")
            .map(PathBuf::from)
            .or_else(|| home("HF_HOME", "token"))
            .or_else(|| home("XDG_CACHE_HOME", "huggingface/token"))
            .or_else(|| home("HOME", ".cache/huggingface/token"))?;
        let text = file::read_text(&path, LARGEST_TOKEN).ok()?;
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_string())
    };
    variable("HF_TOKEN").or_else(in_file)
}

/// One model of the hub, and where it goes.
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
            // The cache's links are relative to it; fails for an empty path only.
            cache: std::path::absolute(cache).unwrap_or_else(|_| cache.into()),
            client: client.map_err(|what| HubError::Endpoint { what })?,
        })
    }

    /// The address of a file of a commit.
    fn url(&self, commit: &str, name: &str) -> String {
        let (endpoint, model) = (&self.client.endpoint, self.wanted.model);
        format!("{endpoint}/{model}/resolve/{commit}/{name}")
    }

    /// The files of the revision, and its commit.
    fn ask(&self) -> Result<Listing, HubError> {
        let (endpoint, model) = (&self.client.endpoint, self.wanted.model);
        let revision = self.wanted.revision.replace('/', "%2F");
        let url = format!("{endpoint}/api/models/{model}/revision/{revision}");
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

    /// Fetches what the cache lacks and returns the snapshot.
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
        // Before the weights: a snapshot with weights has all of it.
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
            // Names become paths: only what the hub lists, too, and what leads nowhere else.
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

    /// Brings one file into the snapshot. Until all of it is there it is `blobs/ETAG.part`.
    fn bring_file(&self, dir: &Path, commit: &str, name: &str) -> Result<(), HubError> {
        let meta = self.metadata(commit, name)?;
        let disk = |why: io::Error| self.disk(name, &why);
        let blobs = ensure(&dir.join("blobs")).map_err(disk)?;
        let blob = dir.join("blobs").join(&meta.etag);
        let size = |path: &Path| fs::metadata(path).ok().filter(fs::Metadata::is_file);
        let is_whole = || size(&blob).is_some_and(|m| m.len() == meta.size);
        if !is_whole() {
            let _lock = self.lock(&blobs, &meta.etag, name)?;
            // Another process may have brought it meanwhile.
            if !is_whole() {
                self.download(&blobs, commit, name, &meta)?;
            }
        }
        // Another revision's file may be there, unchanged; a link to nothing would be in the way.
        let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
        let snapshot = dir.join("snapshots").join(commit).join(folder);
        let snapshot = ensure(&snapshot).map_err(disk)?;
        let mut target = PathBuf::from("../..");
        let folders = folder.split('/').filter(|part| !part.is_empty());
        target.extend(folders.map(|_| ".."));
        target.extend(["blobs", &meta.etag]);
        snapshot
            .replace_link(file, target.as_os_str())
            .map_err(disk)
    }

    /// Keeps other processes from fetching the same file.
    fn lock(&self, blobs: &Dir, etag: &str, name: &str) -> Result<File, HubError> {
        let file = blobs.open_to_append(format!("{etag}.lock"));
        let file = file.map_err(|e| self.disk(name, &e))?;
        for attempt in 1..=LOCK_ATTEMPTS {
            match file.try_lock() {
                // Without locks, other processes cannot be detected.
                Ok(()) | Err(fs::TryLockError::Error(_)) => return Ok(file),
                Err(fs::TryLockError::WouldBlock) if attempt < LOCK_ATTEMPTS => {
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err(fs::TryLockError::WouldBlock) => {}
            }
        }
        Err(self.refused(&format!(
            "another process is fetching {name}; try again when it is done"
        )))
    }

    /// What the hub says of a file; its words become paths, and are looked at first.
    fn metadata(&self, commit: &str, name: &str) -> Result<Metadata, HubError> {
        let meta = self.client.metadata(&self.url(commit, name));
        let meta = meta.map_err(|e| match e {
            RequestError::Answer(why) => {
                self.refused(&format!("the answer for {name} makes no sense: {why}"))
            }
            error => self.failed(error),
        })?;
        if hub::is_part(&meta.etag) && !meta.etag.contains('.') && meta.commit == commit {
            return Ok(meta);
        }
        Err(self.refused(&format!(
            "the answer for {name} has an odd ETag or another commit"
        )))
    }

    /// Fetches a file into `ETAG.part`, and names it when all of it is there.
    fn download(
        &self,
        blobs: &Dir,
        commit: &str,
        name: &str,
        meta: &Metadata,
    ) -> Result<(), HubError> {
        let part = format!("{}.part", meta.etag);
        let disk = |why: io::Error| self.disk(name, &why);
        let have = blobs.open_file(&part).and_then(|part| part.metadata());
        let have = have.map_or(0, |part| part.len());
        tensors::check_space(blobs.path(), meta.size.saturating_sub(have))?;
        let mut attempt = 1;
        loop {
            let mut file = blobs.open_to_append(&part).map_err(disk)?;
            if file.metadata().map_err(disk)?.len() > meta.size {
                drop(file);
                blobs.remove_file(&part).map_err(disk)?;
                file = blobs.open_to_append(&part).map_err(disk)?;
            }
            match self.download_rest(&mut file, commit, name, meta) {
                Ok(true) => {
                    file.sync_all().map_err(disk)?;
                    blobs.rename(&part, &meta.etag).map_err(disk)?;
                    return blobs.sync().map_err(disk);
                }
                Ok(false) => {
                    // The partial file cannot be verified, so it is not kept.
                    blobs.remove_file(&part).map_err(disk)?;
                    return Err(self.refused(&format!(
                        "{name} came with another number of bytes than announced ({}); try again",
                        meta.size
                    )));
                }
                Err(HubError::Broken { .. }) if attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(error),
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Fetches what a part of a file lacks. False when it comes with another number of bytes than announced: no more of
    /// them is kept than that.
    fn download_rest(
        &self,
        part: &mut File,
        commit: &str,
        name: &str,
        meta: &Metadata,
    ) -> Result<bool, HubError> {
        let mut have = part.metadata().map_err(|e| self.disk(name, &e))?.len();
        if have == meta.size {
            return Ok(true);
        }
        let range = format!("bytes={have}-");
        let rest = meta.size - have;
        let answer = self.client.get(&self.url(commit, name), Some(&range), rest);
        let answer = answer.map_err(|e| self.failed(e))?;
        let begin = answer.headers().get("content-range");
        let begin =
            begin.and_then(|range| range.to_str().ok()?.strip_prefix("bytes ")?.split_once('-'));
        // Without ranges the whole file comes, from its beginning.
        let begin = begin.map_or(Some(0), |(begin, _)| begin.parse().ok());
        if begin != Some(have) {
            return Ok(false);
        }
        let bar = progress(name, have, meta.size);
        let mut body = answer.into_body().into_reader();
        let mut block = vec![0; BLOCK];
        loop {
            let n = match body.read(&mut block) {
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(self.broken(name, &e.to_string())),
            };
            if n == 0 && have < meta.size {
                return Err(self.broken(name, "it ended early"));
            }
            if n as u64 > meta.size - have {
                return Ok(false);
            }
            if n == 0 {
                bar.finish_and_clear();
                return Ok(true);
            }
            part.write_all(&block[..n])
                .map_err(|e| self.disk(name, &e))?;
            have += n as u64;
            bar.set_position(have);
        }
    }

    /// Makes the revision's name mean this commit, now that all of it is there.
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

    /// What a request failed of, for the user.
    fn failed(&self, error: RequestError) -> HubError {
        let (endpoint, name) = (self.client.endpoint.clone(), self.wanted.model.to_string());
        let error = match error {
            RequestError::Answer(why) => {
                return self.refused(&format!("the answer makes no sense: {why}"));
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
                self.refused("it has been asked too often (HTTP status 429); try again later")
            }
            ureq::Error::StatusCode(status) => self.refused(&format!("HTTP status {status}")),
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
                self.refused(&format!("{why}; check HF_ENDPOINT and HF_TOKEN"))
            }
            ureq::Error::Json(_) | ureq::Error::BodyExceedsLimit(_) => {
                self.refused(&format!("the answer is no list of files ({why})"))
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

/// Opens a directory, and makes it and those it lies in where they are missing.
fn ensure(path: &Path) -> io::Result<Dir> {
    file::create_dirs(path)?;
    Dir::open(path)
}

/// Shows how far a download is, at a terminal only.
fn progress(name: &str, have: u64, size: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(size), ProgressDrawTarget::stderr());
    let style = "{msg} {wide_bar} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar.set_message(name.to_string());
    bar.set_position(have);
    bar
}
