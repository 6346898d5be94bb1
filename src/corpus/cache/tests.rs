//! Tests that texts are encoded once for all processes that need their ids.

use std::sync::Mutex;

use super::*;
use crate::corpus::{Dataset, Encoding, Source, TEXT_FIELD, Tokenizer};

/// A temporary directory with texts, and a folder in it for their ids.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let words = (0..2000).map(|i| format!("{} ", (i * i + 7 * i) % 101));
        place.put("a.txt", &words.collect::<String>());
        place.put(
            "rows.jsonl",
            "{\"text\": \"one two\"}\n{\"text\": null}\n{\"text\": \"three\"}\n",
        );
        place
    }

    fn put(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn files(&self) -> Vec<String> {
        let name = |name: &str| self.0.path().join(name).display().to_string();
        vec![name("a.txt"), name("rows.jsonl")]
    }

    fn cache(&self) -> TokenCache {
        TokenCache {
            dir: self.0.path().join("cache").join("tokens"),
            leads: true,
            least: 0,
        }
    }

    /// Returns the names of the files in the folder of ids.
    fn made(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.cache().dir).into_iter().flatten();
        let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
        names.collect()
    }
}

fn texts_of<'a>(files: &'a [String], tokenizer: &'a Tokenizer) -> Texts<'a> {
    Texts {
        files,
        tokenizer,
        field: TEXT_FIELD,
    }
}

/// Returns the ids of texts, the reported lines about sharing them, and the number of skipped rows.
fn tokens(
    cache: &TokenCache,
    files: &[String],
    tokenizer: &Tokenizer,
) -> (Tokens, Vec<String>, u64) {
    let lines = Mutex::new(Vec::new());
    let report = |report: Report<'_>| {
        if let Report::Shared(line) = report {
            lines.lock().unwrap().push(line.to_string());
        }
    };
    let tally = Arc::default();
    let tokens = cache
        .tokens(texts_of(files, tokenizer), &tally, &report)
        .unwrap();
    (tokens, lines.into_inner().unwrap(), tally.skipped().rows())
}

#[test]
fn a_text_is_encoded_once_and_read_as_it_is_encoded() {
    let place = Place::new();
    let (cache, files, byte) = (place.cache(), place.files(), Tokenizer::byte());
    let alone = encode::tokens(texts_of(&files, &byte), &Arc::default(), &|_| {}).unwrap();
    let (first, lines, skipped) = tokens(&cache, &files, &byte);
    assert!(
        lines.len() == 1 && lines[0].starts_with("encoding "),
        "{lines:?}"
    );
    let (second, silent, again) = tokens(&cache, &files, &byte);
    assert!(silent.is_empty(), "{silent:?}");
    assert_eq!((skipped, again), (1, 1));
    for read in [&first, &second] {
        assert_eq!(read.fingerprint(), alone.fingerprint());
        assert_eq!(Tokens::bytes_in_memory([read]), 0);
    }
    let made = place.made();
    assert!(made.len() == 1 && made[0].ends_with(".tokens"), "{made:?}");
    // The same contents under another name use the same file; another tokenizer or another text makes a new one.
    let moved = [
        place.put("b.txt", &std::fs::read_to_string(&files[0]).unwrap()),
        files[1].clone(),
    ];
    assert!(tokens(&cache, &moved, &byte).1.is_empty());
    assert_eq!(tokens(&cache, &files, &Tokenizer::gpt2()).1.len(), 1);
    place.put("b.txt", "Another text.");
    assert_eq!(tokens(&cache, &moved, &byte).1.len(), 1);
    assert_eq!(place.made().len(), 3);
}

#[test]
fn a_damaged_file_is_made_again() {
    let place = Place::new();
    let (cache, files, byte) = (place.cache(), place.files(), Tokenizer::byte());
    let whole = tokens(&cache, &files, &byte).0.fingerprint();
    let path = cache.dir.join(&place.made()[0]);
    let bytes = std::fs::read(&path).unwrap();
    let mut changed = bytes.clone();
    changed[HEADER + 6] ^= 1;
    let mut outside = bytes.clone();
    outside[HEADER..HEADER + 2].fill(0xff);
    for damaged in [
        &changed[..],
        &outside,
        &bytes[..bytes.len() - 2],
        &bytes[..100],
        b"",
    ] {
        std::fs::write(&path, damaged).unwrap();
        let (tokens, lines, _) = tokens(&cache, &files, &byte);
        assert_eq!((tokens.fingerprint(), lines.len()), (whole.clone(), 1));
        drop(tokens);
        assert!(std::fs::read(&path).unwrap() == bytes);
    }
}

#[test]
fn of_processes_that_begin_together_one_encodes() {
    let place = Place::new();
    let (cache, files, byte) = (place.cache(), place.files(), Tokenizer::byte());
    let all: Vec<_> = std::thread::scope(|scope| {
        let one = || scope.spawn(|| tokens(&cache, &files, &byte));
        let threads: Vec<_> = (0..4).map(|_| one()).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let lines: Vec<&String> = all.iter().flat_map(|(_, lines, _)| lines).collect();
    let encoded = lines.iter().filter(|line| line.starts_with("encoding "));
    assert_eq!(encoded.count(), 1, "{lines:?}");
    assert!(
        all.iter()
            .all(|one| one.0.fingerprint() == all[0].0.fingerprint())
    );
    assert_eq!(place.made().len(), 1);
}

#[test]
fn who_waited_in_vain_writes_and_who_cannot_write_encodes_for_itself() {
    let place = Place::new();
    let (cache, files, byte) = (place.cache(), place.files(), Tokenizer::byte());
    let texts = texts_of(&files, &byte);
    let path = cache.dir.join(format!("{}.tokens", key(texts).unwrap()));
    file::create_dirs(&cache.dir).unwrap();
    let held = file::open_to_append(&lock_of(&path)).unwrap();
    assert_eq!(lock::lock(&held).unwrap(), Locked::Taken);
    let name = path.file_name().unwrap().to_str().unwrap();
    let left = cache.dir.join(format!(".{name}.0123456789abcdef.new"));
    std::fs::write(&left, "unfinished").unwrap();
    let (waited, lines, _) = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| tokens(&cache, &files, &byte));
        std::thread::sleep(2 * GLANCE);
        drop(held);
        waiting.join().unwrap()
    });
    assert!(
        lines.len() == 2
            && lines[0].starts_with("waiting for another process")
            && lines[1].starts_with("encoding "),
        "{lines:?}"
    );
    assert_eq!(Tokens::bytes_in_memory([&waited]), 0);
    assert!(path.is_file() && !left.exists());
    // The path of the directory is that of a file.
    let cache = TokenCache {
        dir: files[0].clone().into(),
        ..cache
    };
    let (own, lines, _) = tokens(&cache, &files, &byte);
    assert!(
        lines.len() == 1 && lines[0].contains("cannot be kept"),
        "{lines:?}"
    );
    assert_eq!(own.fingerprint(), waited.fingerprint());
}

#[test]
fn a_data_set_of_cached_ids_is_that_of_encoded_ones() {
    let place = Place::new();
    let (cache, files) = (place.cache(), place.files());
    let sources = [Source {
        inputs: files,
        weight: 1.0,
    }];
    let open = |cache: Option<&TokenCache>| {
        let how = Encoding {
            field: TEXT_FIELD,
            cache,
        };
        let opened = Dataset::open(&sources, None, 0.1, &Tokenizer::byte(), how, 8, &|_| {});
        opened.unwrap()
    };
    let (alone, shared) = (open(None), open(Some(&cache)));
    assert_eq!(alone.fingerprints(), shared.fingerprints());
    assert!(alone.bytes_in_memory() > 0);
    assert_eq!(shared.bytes_in_memory(), 0);
}
