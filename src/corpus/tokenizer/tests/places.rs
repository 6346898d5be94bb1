//! Special tokens and ids, wherever a model's directory keeps them.

use super::*;

/// The tokens that transformers reads from the files in which Hugging Face directories keep them; made by
/// tests/fixtures/make_special_tokens_fixture.py.
const SPECIAL_TOKENS: &str = include_str!("../../../../tests/fixtures/special_tokens.json");

#[derive(Deserialize)]
struct Places {
    tokenizers: HashMap<String, Value>,
    cases: Vec<PlacesCase>,
}

#[derive(Deserialize)]
struct PlacesCase {
    name: String,
    tokenizer: String,
    added: Vec<Value>,
    files: HashMap<String, Value>,
    /// Two more than the largest id and one.
    rows: usize,
    eos: Option<u32>,
    texts: Vec<(String, Vec<u32>)>,
}

/// A directory with the files of a case.
fn directory(case: &PlacesCase, tokenizers: &HashMap<String, Value>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut json = tokenizers[&case.tokenizer].clone();
    let added = json["added_tokens"].as_array_mut().unwrap();
    added.extend(case.added.iter().cloned());
    std::fs::write(dir.path().join("tokenizer.json"), json.to_string()).unwrap();
    for (name, json) in &case.files {
        std::fs::write(dir.path().join(name), json.to_string()).unwrap();
    }
    dir
}

#[test]
fn tokens_and_ids_are_autotokenizers_wherever_they_are_kept() {
    let fixture: Places = serde_json::from_str(SPECIAL_TOKENS).unwrap();
    assert!(fixture.cases.len() > 40);
    for case in &fixture.cases {
        let name = &case.name;
        let dir = directory(case, &fixture.tokenizers);
        let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
        assert_eq!(tokenizer.size(), case.rows - 2, "{name}");
        for (text, ids) in &case.texts {
            assert_eq!(&tokenizer.encode(text).unwrap(), ids, "{name}: {text:?}");
        }
        // If transformers finds no end, these names are not used: config.json's number, <|endoftext|>.
        let number = case.files["config.json"]["eos_token_id"].as_u64();
        let without = number.map_or(0, |id| id as u32);
        assert_eq!(
            tokenizer.end_of_text(),
            case.eos.or(Some(without)),
            "{name}"
        );
        assert_eq!(tokenizer.document_end(), tokenizer.end_of_text());
        // What a checkpoint keeps is the same tokenizer without the other files.
        let copy = tempfile::tempdir().unwrap();
        let path = copy.path().join("tokenizer.json");
        std::fs::write(&path, tokenizer.tokenizer_json()).unwrap();
        let read = Tokenizer::from_dir(copy.path()).unwrap();
        assert_eq!(read.fingerprint(), tokenizer.fingerprint(), "{name}");
        for (text, ids) in &case.texts {
            assert_eq!(&read.encode(text).unwrap(), ids, "{name}: {text:?}");
        }
    }
}

#[test]
fn a_tokenizer_that_is_complete_is_kept_as_it_is() {
    let fixture: Places = serde_json::from_str(SPECIAL_TOKENS).unwrap();
    for case in fixture
        .cases
        .iter()
        .filter(|case| case.name == "nothing else" || case.name == "class of GPT-2")
    {
        let dir = directory(case, &fixture.tokenizers);
        let bytes = std::fs::read(dir.path().join("tokenizer.json")).unwrap();
        let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
        assert_eq!(tokenizer.tokenizer_json()[..], bytes, "{}", case.name);
    }
}

#[test]
fn the_places_of_special_ids_have_an_order() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    std::fs::copy(fixture("smollm-like"), dir.path().join("tokenizer.json")).unwrap();
    let ends = || {
        let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
        (tokenizer.end_of_text(), tokenizer.stops().to_vec())
    };
    let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
    let id = |token: &str| tokenizer.encode(token).unwrap()[0];
    let (end, im_start, im_end) = (id("<|endoftext|>"), id("<|im_start|>"), id("<|im_end|>"));
    assert_eq!(ends(), (Some(end), vec![end]));
    put(
        "generation_config.json",
        "{\"eos_token_id\": [7, 8, 99999]}",
    );
    assert_eq!(ends(), (Some(7), vec![7, 8]));
    put("config.json", &format!("{{\"eos_token_id\": {im_start}}}"));
    assert_eq!(ends(), (Some(im_start), vec![7, 8]));
    put(
        "tokenizer_config.json",
        "{\"tokenizer_class\": \"GPT2TokenizerFast\"}",
    );
    assert_eq!(ends(), (Some(end), vec![7, 8]));
    put(
        "tokenizer_config.json",
        "{\"eos_token\": {\"content\": \"<|im_end|>\"}}",
    );
    assert_eq!(ends(), (Some(im_end), vec![7, 8]));
    put(
        "special_tokens_map.json",
        "{\"eos_token\": \"<|endoftext|>\"}",
    );
    assert_eq!(ends(), (Some(end), vec![7, 8]));
    // Generation ends with the ids in the model's files; if these have none, with the tokenizer's token.
    put("generation_config.json", "{\"eos_token_id\": null}");
    assert_eq!(ends(), (Some(end), vec![im_start]));
    put("config.json", "{}");
    assert_eq!(ends(), (Some(end), vec![end]));

    let refused = |name: &str, text: &str, what: &str| {
        put(name, text);
        let error = Tokenizer::from_dir(dir.path()).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
        std::fs::remove_file(dir.path().join(name)).unwrap();
    };
    refused(
        "special_tokens_map.json",
        "{",
        "special_tokens_map.json next to it is not JSON",
    );
    for name in [
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "generation_config.json",
    ] {
        let wanted = format!("{name} next to it is not JSON: it begins with a byte order mark");
        refused(name, "\u{feff}{}", &wanted);
    }
    refused(
        "added_tokens.json",
        "{\"<x>\": \"1\"}",
        "added_tokens.json next to it: \"<x>\" has \"1\", not an id",
    );
    refused(
        "tokenizer_config.json",
        "{\"added_tokens_decoder\": {\"x\": {\"content\": \"<x>\"}}}",
        "added_tokens_decoder has \"x\"",
    );
}
