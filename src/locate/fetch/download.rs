//! Downloads one file of a model from the hub into the cache.

use std::fs;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Hub, ensure};
use crate::file::Dir;
use crate::locate::hub::{self, HubError};
use crate::locate::request::{Metadata, RequestError};
use crate::tensors;

/// Number of attempts at a download when connections break; each attempt continues where the last one stopped.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);
/// Number of attempts at a lock of another process that fetches the same file.
const LOCK_ATTEMPTS: u32 = 6;
const LOCK_PAUSE: Duration = Duration::from_secs(1);
/// Bytes taken at a time.
const BLOCK: usize = 1 << 16;

impl Hub<'_> {
    /// Fetches one file into the snapshot. Until it is complete it is `blobs/ETAG.part`.
    pub(super) fn bring_file(&self, dir: &Path, commit: &str, name: &str) -> Result<(), HubError> {
        let meta = self.metadata(commit, name)?;
        let disk = |why: io::Error| self.disk(name, &why);
        let blobs = ensure(&dir.join("blobs")).map_err(disk)?;
        let blob = dir.join("blobs").join(&meta.etag);
        let size = |path: &Path| fs::metadata(path).ok().filter(fs::Metadata::is_file);
        let is_whole = || size(&blob).is_some_and(|m| m.len() == meta.size);
        if !is_whole() {
            let _lock = self.lock(&blobs, &meta.etag, name)?;
            // Another process may have fetched it meanwhile.
            if !is_whole() {
                self.download(&blobs, commit, name, &meta)?;
            }
        }
        // An unchanged file of another revision may exist; a dangling link would be in the way.
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

    /// Returns the hub's metadata of a file. Its texts become paths, so they are checked first.
    fn metadata(&self, commit: &str, name: &str) -> Result<Metadata, HubError> {
        let meta = self.client.metadata(&self.url(commit, name));
        let meta = meta.map_err(|e| match e {
            RequestError::Answer(why) => {
                self.refused(&format!("unexpected answer for {name}: {why}"))
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

    /// Downloads a file into `ETAG.part`, and renames it when it is complete.
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

    /// Downloads the missing part of a file. Returns false when the number of bytes differs from the announced one; no
    /// more bytes than announced are kept.
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
        // Without ranges the server sends the complete file from its beginning.
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
}

/// Shows the progress of a download, only at a terminal.
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
