//! The sources of the tasks' documents: the data sets of the hub that lm-evaluation-harness reads.

/// The branch on which the hub keeps every data set as Parquet, as CONFIG/SPLIT/0000.parquet.
pub const REVISION: &str = "refs/convert/parquet";

/// The documents of a task.
#[derive(Debug)]
pub struct Source {
    pub task: &'static str,
    /// `OWNER/NAME`.
    pub dataset: &'static str,
    pub config: &'static str,
    /// Splits with documents, and splits with the examples in their prompts.
    pub splits: &'static [&'static str],
}

const fn source(
    task: &'static str,
    dataset: &'static str,
    config: &'static str,
    splits: &'static [&'static str],
) -> Source {
    Source {
        task,
        dataset,
        config,
        splits,
    }
}

/// The sources by task, from the harness's task files of version 0.4.13.
pub const SOURCES: &[Source] = &[
    source("arc_easy", "allenai/ai2_arc", "ARC-Easy", &["test"]),
    source("piqa", "baber/piqa", "default", &["validation"]),
    source("sciq", "allenai/sciq", "default", &["test"]),
    source("hellaswag", "Rowan/hellaswag", "default", &["validation"]),
    source(
        "winogrande",
        "allenai/winogrande",
        "winogrande_xl",
        &["validation"],
    ),
    source("boolq", "aps/super_glue", "boolq", &["validation"]),
    source(
        "lambada_openai",
        "EleutherAI/lambada_openai",
        "default",
        &["test"],
    ),
    source(
        "wikitext",
        "EleutherAI/wikitext_document_level",
        "wikitext-2-raw-v1",
        &["test"],
    ),
    source("openbookqa", "allenai/openbookqa", "main", &["test"]),
    source("wsc273", "lighteval/winograd_wsc", "wsc273", &["test"]),
    source("logiqa", "EleutherAI/logiqa", "logiqa", &["test"]),
    source("mmlu", "cais/mmlu", "all", &["test", "dev"]),
    source(
        "truthfulqa_mc1",
        "truthfulqa/truthful_qa",
        "multiple_choice",
        &["validation"],
    ),
    source(
        "truthfulqa_mc2",
        "truthfulqa/truthful_qa",
        "multiple_choice",
        &["validation"],
    ),
    source("wnli", "nyu-mll/glue", "wnli", &["validation"]),
    source("qnli", "nyu-mll/glue", "qnli", &["validation"]),
    source("mnli", "nyu-mll/glue", "mnli", &["validation_matched"]),
];

impl Source {
    /// Returns the name of the task's directory in a data directory.
    pub fn directory(&self) -> &'static str {
        match self.task {
            // Both tasks read the same files.
            "truthfulqa_mc1" | "truthfulqa_mc2" => "truthful_qa",
            task => task,
        }
    }

    /// Returns the folders of the data set that hold its splits.
    pub fn folders(&self) -> Vec<String> {
        let folder = |split: &&str| format!("{}/{split}", self.config);
        self.splits.iter().map(folder).collect()
    }

    /// Returns the name of file `i` of `n` of a split, as in the hub's own exports.
    pub fn file_name(split: &str, i: usize, n: usize) -> String {
        format!("{split}-{i:05}-of-{n:05}.parquet")
    }
}
