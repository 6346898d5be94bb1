//! `[data]`.

use crate::config::declare::section;
use crate::config::key::OnResume::{Refused, SameContent};
use crate::config::rules::{field, given, texts, train_texts};
use crate::config::values::{Texts, TokenizerChoice, TrainTexts};

const SPLIT: &str = "the run trains and validates on the two parts of this split";
const BYTE_OR_REFERENCE: &str = r#"`"reference"` with `reference.path`, else `"byte"`"#;

section! {
    /// Text or token files. Paths are relative to the config file; `$NAME` in them takes an environment variable (`$$`
    /// is a plain `$`).
    "data" DataConfig {
        /// Training text: `.txt`, `.jsonl`, `.ndjson` or `.json` (the field `text_field` of each row), all of these
        /// also `.gz` and `.zst`, `.parquet` (the column `text_field`), token files (`.bin` of nanoGPT, llm.c, lit-gpt
        /// or `heirloom data prepare`, `.npy`) or `builtin:tinyshakespeare`; a file, a directory, or a pattern of
        /// shards such as `train_*.bin` ([models.md](models.md#texts)). A list is read one after the other as one text;
        /// of a list with weights each window is drawn from one source.
        train: TrainTexts = required(r#""corpus.txt""#), SameContent, check train_texts;

        /// Validation text, in the same formats.
        val: Option<Texts> = absent("the end of the training text"), SameContent, check given(texts);

        /// Share of each source held out at its end when `val` is absent.
        val_fraction: f64 = default(0.1), Refused(SPLIT);

        /// How text becomes tokens: `byte`, `gpt2`, `reference` (what the reference at `reference.path` brings), or the
        /// path of a `tokenizer.json` or of a directory with one, with a `/` or a `.` in it.
        tokenizer: Option<TokenizerChoice> = absent(BYTE_OR_REFERENCE), SameContent;

        /// Field of JSON rows and column of Parquet files that holds the text.
        text_field: Option<String> = absent(r#"`"text"`"#), SameContent, check given(field);
    }
}
