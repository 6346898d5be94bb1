//! Models brought from the Hugging Face hub into its standard cache, by `hf-hub`. Only what heirloom reads is fetched:
//! config, tokenizer and safetensors. A revision's name points to a snapshot only when all of it is there.

use std::fs;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hf_hub::api::RepoInfo;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo, Metadata};
use hf_hub::{Cache, Repo, RepoType};
use indicatif::{ProgressBar, ProgressDrawTarget};

use super::hub::{self, Found, HubError, Name};
use crate::corpus::tokenizer::{COMPANIONS, TOKENIZER};
use crate::file;
use crate::tensors::{self, INDEX, MODEL, PICKLES, TensorError};
use crate::text;

/// What tells of a model's shape. Nothing goes without it.
const CONFIG: &str = "config.json";
const HUGGING_FACE: &str = "https://huggingface.co";
/// The first question is given up after these when the network drops it without a word.
const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(30);
/// How often a file is asked for when connections break; each time it goes on where it stopped.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);
/// Most bytes of a file with a token in it.
const LARGEST_TOKEN: u64 = 4 << 10;

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
    let hub = Hub::new(wanted, cache);
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
            hub.endpoint,
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
    endpoint: String,
    token: Option<String>,
}

impl<'a> Hub<'a> {
    fn new(wanted: Name<'a>, cache: &Path) -> Self {
        let endpoint = variable("HF_ENDPOINT");
        let endpoint = endpoint.as_deref().unwrap_or(HUGGING_FACE);
        Self {
            wanted,
            // The cache's links are relative to it; fails for an empty path only.
            cache: std::path::absolute(cache).unwrap_or_else(|_| cache.into()),
            endpoint: text::clean(endpoint.trim_end_matches('/')).into_owned(),
            token: token(),
        }
    }

    fn repo(&self, revision: &str) -> Result<ApiRepo, HubError> {
        let model = self.wanted.model.into();
        let repo = Repo::with_revision(model, RepoType::Model, revision.into());
        Ok(self.api()?.repo(repo))
    }

    fn api(&self) -> Result<Api, HubError> {
        // Everything that would be looked for in the environment is given.
        ApiBuilder::from_cache(Cache::new(self.cache.clone()))
            .with_endpoint(self.endpoint.clone())
            .with_token(self.token.clone())
            // Its own retries forget how much of a file is there already.
            .with_retries(0)
            .with_user_agent("heirloom", env!("CARGO_PKG_VERSION"))
            .build()
            .map_err(|e| self.told("", e))
    }

    /// The files of the revision, and its commit.
    fn ask(&self) -> Result<RepoInfo, HubError> {
        let request = self.repo(self.wanted.revision)?.info_request().config();
        let request = request
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(ANSWER))
            .timeout_recv_body(Some(ANSWER))
            .build();
        let answer = request
            .call()
            .and_then(|mut answer| answer.body_mut().read_json());
        let info: RepoInfo = answer.map_err(|e| self.told("", Box::new(e).into()))?;
        if hub::is_part(&info.sha) {
            return Ok(info);
        }
        Err(self.refused("the answer names no commit"))
    }

    /// Fetches what the cache lacks and returns the snapshot.
    fn bring(&self, info: &RepoInfo) -> Result<PathBuf, HubError> {
        let has = |name: &str| info.siblings.iter().any(|s| s.rfilename == name);
        self.check(&has, info)?;
        let dir = self.wanted.dir(&self.cache);
        let snapshot = dir.join("snapshots").join(&info.sha);
        let repo = self.repo(&info.sha)?;
        let bring = |name: &str| {
            if snapshot.join(name).is_file() {
                return Ok(());
            }
            self.bring_file(&repo, &dir, &info.sha, name)
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
            // Names become paths: only what the hub lists, too, and what leads nowhere else.
            if let Some(odd) = shards.iter().find(|s| !hub::is_part(s) || !has(s)) {
                let odd = text::clean(odd);
                return Err(self.refused(&format!("{INDEX} names {odd}, which it does not have")));
            }
            shards.iter().try_for_each(|name| bring(name))?;
        }
        self.point(&dir, &info.sha)?;
        Ok(snapshot)
    }

    /// Refuses a repository without a config or safetensors.
    fn check(&self, has: &dyn Fn(&str) -> bool, info: &RepoInfo) -> Result<(), HubError> {
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
    fn bring_file(
        &self,
        repo: &ApiRepo,
        dir: &Path,
        commit: &str,
        name: &str,
    ) -> Result<(), HubError> {
        let meta = self.metadata(repo, commit, name)?;
        let blobs = dir.join("blobs");
        let (blob, part) = (
            blobs.join(meta.etag()),
            blobs.join(meta.etag()).with_extension("part"),
        );
        let link = dir.join("snapshots").join(commit).join(name);
        let disk = |why: io::Error| self.disk(name, &why);
        let size = |path: &Path| fs::metadata(path).map_or(0, |m| m.len());
        let all = meta.size() as u64;
        fs::create_dir_all(&blobs).map_err(disk)?;
        // A link to nothing would be in the way.
        let _ = fs::remove_file(&link);
        if size(&part) > all {
            fs::remove_file(&part).map_err(disk)?;
        } else if size(&part) == all && part.is_file() {
            // It was stopped between the last byte and the name.
            fs::rename(&part, &blob).map_err(disk)?;
        }
        if !(blob.is_file() && size(&blob) == all) {
            tensors::check_space(&blobs, all - size(&part))?;
            self.download(repo, name)?;
        }
        if size(&blob) != all {
            // hf-hub counts nothing: a server that does not know ranges sends the beginning once more.
            let _ = fs::remove_file(&link);
            let _ = fs::remove_file(&blob);
            return Err(self.refused(&format!(
                "{name} came with another number of bytes than announced; try again"
            )));
        }
        if !link.is_file() {
            // Another revision's file, unchanged.
            fs::create_dir_all(link.parent().unwrap_or(dir)).map_err(disk)?;
            let target = Path::new("../../blobs").join(meta.etag());
            std::os::unix::fs::symlink(target, &link).map_err(disk)?;
        }
        Ok(())
    }

    /// What the hub says of a file; its words become paths, and are looked at first.
    fn metadata(&self, repo: &ApiRepo, commit: &str, name: &str) -> Result<Metadata, HubError> {
        let (api, url) = (self.api()?, repo.url(name));
        // hf-hub takes for granted that a redirection says where to, and panics.
        let hook = panic::take_hook();
        panic::set_hook(Box::new(|_| {}));
        let answer = panic::catch_unwind(AssertUnwindSafe(|| api.metadata(&url)));
        panic::set_hook(hook);
        let answer =
            answer.map_err(|_| self.refused(&format!("the answer for {name} makes no sense")))?;
        let meta = answer.map_err(|e| self.told(name, e))?;
        if hub::is_part(meta.etag()) && !meta.etag().contains('.') && meta.commit_hash() == commit {
            return Ok(meta);
        }
        Err(self.refused(&format!(
            "the answer for {name} has an odd ETag or another commit"
        )))
    }

    fn download(&self, repo: &ApiRepo, name: &str) -> Result<(), HubError> {
        let mut attempt = 1;
        loop {
            // Drawn at a terminal only.
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            match repo
                .download_with_progress(name, bar)
                .map_err(|e| self.told(name, e))
            {
                Ok(_) => return Ok(()),
                Err(HubError::Broken { .. }) if attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(error),
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Makes the revision's name mean this commit, now that all of it is there.
    fn point(&self, dir: &Path, commit: &str) -> Result<(), HubError> {
        let refs = dir.join("refs");
        // hf-hub has taken the commit for a branch's name.
        let _ = fs::remove_file(refs.join(commit));
        if self.wanted.revision == commit {
            return Ok(());
        }
        let path = refs.join(self.wanted.revision);
        let write = || {
            fs::create_dir_all(path.parent().unwrap_or(&refs))?;
            fs::write(&path, commit)
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

    fn refused(&self, why: &str) -> HubError {
        HubError::Refused {
            endpoint: self.endpoint.clone(),
            name: self.wanted.model.into(),
            why: why.into(),
        }
    }

    /// What went wrong, for the user; `file` is what was being fetched.
    fn told(&self, file: &str, error: ApiError) -> HubError {
        let (endpoint, name) = (self.endpoint.clone(), self.wanted.model.to_string());
        match error {
            ApiError::RequestError(error) => self.told_of_request(*error),
            ApiError::IoError(error) if is_of_disk(&error) => self.disk(file, &error),
            ApiError::IoError(error) => HubError::Broken {
                endpoint,
                name,
                file: file.into(),
                why: text::clean(&error.to_string()).into_owned(),
            },
            ApiError::LockAcquisition(_) => self.refused(&format!(
                "another process is fetching {file}; try again when it is done"
            )),
            error => self.refused(&text::clean(&error.to_string())),
        }
    }

    fn told_of_request(&self, error: ureq::Error) -> HubError {
        let (endpoint, name) = (self.endpoint.clone(), self.wanted.model.to_string());
        let why = text::clean(&error.to_string()).into_owned();
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
                token: self.token.is_some(),
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

/// Whether an error is the disk's: what ends a connection has other kinds.
fn is_of_disk(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::StorageFull
            | Kind::QuotaExceeded
            | Kind::PermissionDenied
            | Kind::ReadOnlyFilesystem
            | Kind::FileTooLarge
            | Kind::NotFound
            | Kind::AlreadyExists
            | Kind::NotADirectory
            | Kind::IsADirectory
    )
}
