//! The progress file of an evaluation: scores of finished documents, so that the same command continues after a kill.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::eval::score::{Known, Score};
use crate::file;
use crate::text;

/// Version of the file's format.
const VERSION: u64 = 2;

/// An open progress file. Its first line holds the fingerprint of models and options. Each further line holds a task's
/// fingerprint, which the scores after it belong to, or the scores of one document. Lines are appended with one write each,
/// so that a kill loses at most the last one.
#[derive(Debug)]
pub struct Partial {
    path: PathBuf,
    file: File,
    /// Known scores by model and task.
    known: HashMap<(usize, String), Known>,
}

/// The state of the progress file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    Nothing,
    /// Documents of this evaluation.
    Documents(usize),
    /// The progress of another evaluation, which is replaced.
    Other,
}

impl Partial {
    /// Returns the place of the progress file of an output file.
    pub fn path_for(out: &Path) -> PathBuf {
        let mut name = out.as_os_str().to_os_string();
        name.push(".partial");
        name.into()
    }

    /// Opens or begins the progress of an evaluation of `models`, a fingerprint. Scores of a task are kept if its fingerprint in
    /// `tasks` (names and fingerprints) is unchanged.
    ///
    /// # Errors
    /// When the file cannot be read or written, or another process writes it.
    pub fn open(path: &Path, models: &str, tasks: &[(String, String)]) -> Result<(Self, Before)> {
        let named = || format!("{} cannot be written", text::path(path));
        let file = file::open_to_append(path).with_context(named)?;
        match file.try_lock() {
            // Without locks, other processes cannot be detected.
            Ok(()) | Err(TryLockError::Error(_)) => {}
            Err(TryLockError::WouldBlock) => bail!(
                "{} is being written by another process; wait for it, or give another --out",
                text::path(path)
            ),
        }
        let mut partial = Self {
            path: path.into(),
            file,
            known: HashMap::new(),
        };
        let before = partial.read(models, tasks).with_context(named)?;
        Ok((partial, before))
    }

    /// Reads the file and cuts off unusable parts: an incomplete last line, or all of another evaluation.
    fn read(&mut self, models: &str, tasks: &[(String, String)]) -> io::Result<Before> {
        self.file.seek(SeekFrom::Start(0))?;
        let mut reader = BufReader::new(&self.file);
        let (mut line, mut end) = (Vec::new(), 0);
        // The last fingerprint of each task.
        let mut prints: HashMap<String, String> = HashMap::new();
        loop {
            line.clear();
            let n = reader.read_until(b'\n', &mut line)?;
            let whole = line.strip_suffix(b"\n");
            let value = whole.and_then(|line| serde_json::from_slice::<Value>(line).ok());
            let Some(value) = value else {
                break;
            };
            if end == 0 {
                if value != header(models) {
                    break;
                }
            } else if let Some((task, print)) = read_task(&value) {
                if prints.get(&task) != Some(&print) {
                    self.known.retain(|(_, other), _| *other != task);
                }
                prints.insert(task, print);
            } else {
                let line = read_line(&value).filter(|line| prints.contains_key(&line.1));
                let Some((model, task, document, scores)) = line else {
                    break;
                };
                let known = self.known.entry((model, task)).or_default();
                known.insert(document, scores);
            }
            end += n as u64;
        }
        let length = self.file.metadata()?.len();
        if length > end {
            self.file.set_len(end)?;
        }
        if end == 0 {
            self.append(&header(models))?;
        }
        let is_same = |task: &str, print: &str| prints.get(task).is_some_and(|p| p == print);
        self.known.retain(|(_, task), _| {
            let same = |(name, print): &(String, String)| name == task && is_same(name, print);
            tasks.iter().any(same)
        });
        for (task, print) in tasks.iter().filter(|(task, print)| !is_same(task, print)) {
            self.append(&json!({"task": task, "fingerprint": print}))?;
        }
        let documents = self.known.values().map(Known::len).sum();
        Ok(match (documents, end, length) {
            (0, 0, 1..) => Before::Other,
            (0, ..) => Before::Nothing,
            (n, ..) => Before::Documents(n),
        })
    }

    /// Takes the known scores of a model's documents of a task.
    pub fn take(&mut self, model: usize, task: &str) -> Known {
        self.known.remove(&(model, task.into())).unwrap_or_default()
    }

    /// Adds the scores of one document.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn add(
        &mut self,
        model: usize,
        task: &str,
        document: usize,
        scores: &[Score],
    ) -> Result<()> {
        let scores: Vec<Value> = scores.iter().map(score).collect();
        let line = json!({"model": model, "task": task, "doc": document, "scores": scores});
        self.append(&line)
            .with_context(|| format!("{} cannot be written", text::path(&self.path)))
    }

    fn append(&mut self, line: &Value) -> io::Result<()> {
        self.file.write_all(format!("{line}\n").as_bytes())
    }

    /// Removes the file after the results were written.
    pub fn finish(self) {
        // A failure is ignored: the next evaluation replaces the file, or finds all of its documents done.
        let _ = file::remove(&self.path);
    }
}

fn header(fingerprint: &str) -> Value {
    json!({"v": VERSION, "fingerprint": fingerprint})
}

/// Returns a score as `[log-likelihood, greedy, tokens, truncated]`. Values that are not finite, which JSON lacks, become texts.
fn score(score: &Score) -> Value {
    let x = score.log_likelihood;
    let x = match x.is_finite() {
        true => json!(x),
        false => json!(x.to_string()),
    };
    json!([x, score.greedy, score.tokens, score.truncated])
}

fn read_score(value: &Value) -> Option<Score> {
    let [x, greedy, tokens, truncated] = &value.as_array()?[..] else {
        return None;
    };
    let x = match x {
        Value::String(word) => word.parse().ok().filter(|x: &f64| !x.is_finite()),
        number => number.as_f64(),
    };
    Some(Score {
        log_likelihood: x?,
        greedy: greedy.as_bool()?,
        tokens: usize::try_from(tokens.as_u64()?).ok()?,
        truncated: truncated.as_bool()?,
    })
}

/// Reads a task and its fingerprint.
fn read_task(value: &Value) -> Option<(String, String)> {
    let text = |key: &str| Some(value[key].as_str()?.to_string());
    Some((text("task")?, text("fingerprint")?))
}

fn read_line(value: &Value) -> Option<(usize, String, usize, Vec<Score>)> {
    let number = |key: &str| usize::try_from(value[key].as_u64()?).ok();
    let scores = value["scores"].as_array()?.iter().map(read_score);
    let task = value["task"].as_str()?.to_string();
    Some((
        number("model")?,
        task,
        number("doc")?,
        scores.collect::<Option<_>>()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(log_likelihood: f64) -> Score {
        Score {
            log_likelihood,
            greedy: log_likelihood > -1.0,
            tokens: 3,
            truncated: false,
        }
    }

    /// Makes tasks with fingerprints.
    fn tasks(all: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(task, print): &(&str, &str)| (task.to_string(), print.to_string());
        all.iter().map(owned).collect()
    }

    fn open(path: &Path, models: &str) -> Result<(Partial, Before)> {
        Partial::open(path, models, &tasks(&[("piqa", "p"), ("sciq", "s")]))
    }

    /// Returns scores as bits, because NaN does not equal itself.
    fn bits(scores: &[Score]) -> Vec<(u64, bool, usize, bool)> {
        let one = |s: &Score| (s.log_likelihood.to_bits(), s.greedy, s.tokens, s.truncated);
        scores.iter().map(one).collect()
    }

    #[test]
    fn scores_come_back_bit_by_bit_and_a_torn_line_is_dropped() {
        let tmp = tempfile::tempdir().unwrap();
        let path = Partial::path_for(&tmp.path().join("out.json"));
        assert!(path.ends_with("out.json.partial"));
        let all = [
            vec![
                some(-0.1 - 0.2),
                some(f64::from_bits(0xC04A_3D70_A3D7_0A3D)),
            ],
            vec![some(f64::NEG_INFINITY), some(-f64::MIN_POSITIVE)],
            vec![some(-1e-320), some(-123_456_789.123_456_79)],
        ];
        let (mut partial, before) = open(&path, "f").unwrap();
        assert_eq!(before, Before::Nothing);
        for (i, scores) in all.iter().enumerate() {
            partial.add(1, "piqa", 7 * i, scores).unwrap();
        }
        partial.add(0, "piqa", 2, &all[0]).unwrap();
        let busy = open(&path, "f").unwrap_err().to_string();
        assert!(
            busy.contains("is being written by another process"),
            "{busy}"
        );
        drop(partial);
        // The file ends in the middle of a line, as after a kill.
        let text = std::fs::read(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 5]).unwrap();
        let (mut partial, before) = open(&path, "f").unwrap();
        assert_eq!(before, Before::Documents(3));
        assert_eq!(partial.take(0, "piqa"), Known::new());
        let known = partial.take(1, "piqa");
        assert_eq!(known.keys().copied().collect::<Vec<_>>(), [0, 7, 14]);
        for (i, scores) in all.iter().enumerate() {
            assert_eq!(bits(&known[&(7 * i)]), bits(scores));
        }
        // Later scores begin on a new line.
        partial.add(0, "sciq", 5, &all[1]).unwrap();
        drop(partial);
        let (mut partial, before) = open(&path, "f").unwrap();
        assert_eq!(before, Before::Documents(4));
        assert_eq!(bits(&partial.take(0, "sciq")[&5]), bits(&all[1]));
        partial.finish();
        assert!(!path.exists());
    }

    #[test]
    fn tasks_of_both_lists_keep_their_scores() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("x.partial");
        let open = |all: &[(&str, &str)]| Partial::open(&path, "m", &tasks(all)).unwrap();
        let (mut partial, _) = open(&[("piqa", "p"), ("sciq", "s")]);
        for (task, document) in [("piqa", 0), ("piqa", 1), ("sciq", 0)] {
            partial.add(0, task, document, &[some(-1.5)]).unwrap();
        }
        drop(partial);
        // One task is removed, another is added.
        let (mut partial, before) = open(&[("boolq", "b"), ("piqa", "p")]);
        assert_eq!(before, Before::Documents(2));
        assert_eq!(partial.take(0, "piqa").len(), 2);
        assert!(partial.take(0, "boolq").is_empty());
        partial.add(0, "boolq", 3, &[some(-2.5)]).unwrap();
        drop(partial);
        // The removed task's scores are kept; other documents of a task replace its first ones.
        let (mut partial, before) = open(&[("piqa", "q"), ("boolq", "b"), ("sciq", "s")]);
        assert_eq!(before, Before::Documents(2));
        assert!(partial.take(0, "piqa").is_empty());
        assert_eq!(partial.take(0, "sciq").len(), 1);
        partial.add(0, "piqa", 7, &[some(-3.5)]).unwrap();
        drop(partial);
        let (mut partial, _) = open(&[("piqa", "q")]);
        assert_eq!(
            partial.take(0, "piqa").keys().copied().collect::<Vec<_>>(),
            [7]
        );
        drop(partial);
        let (_, before) = open(&[("piqa", "p")]);
        assert_eq!(before, Before::Nothing);
    }

    #[test]
    fn the_progress_of_another_evaluation_is_replaced() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("x.partial");
        let (mut partial, _) = open(&path, "first").unwrap();
        partial.add(0, "piqa", 0, &[some(-1.5)]).unwrap();
        drop(partial);
        let (mut partial, before) = open(&path, "second").unwrap();
        assert_eq!(
            (before, partial.take(0, "piqa")),
            (Before::Other, Known::new())
        );
        drop(partial);
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 3);
        std::fs::write(&path, "no header\n\n").unwrap();
        assert_eq!(open(&path, "second").unwrap().1, Before::Other);
    }
}
