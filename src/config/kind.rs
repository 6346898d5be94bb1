//! The types of values, as messages and documents name them.

use super::values::{
    LayerChoice, MuonScale, OptimizerChoice, PolicyMode, Schedule, ShardChoice,
    Texts as TextInputs, TokenizerChoice, TrainTexts,
};
use crate::model::{Family, Part};
use crate::ops::PrecisionChoice;
use crate::run::command::{GrowMode, GrowSource};
use crate::run::notify::{Bell, Occasion};

use Kind::{
    Baselines, Count, Flag, Inputs, Layers, OneOf, Pair, Parts, Quoted, Real, SomeOf, Sources,
    Text, Texts, Tokenizer,
};

/// The type of a key's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An integer that is not negative.
    Count,
    /// A finite number.
    Real,
    Flag,
    Text,
    Texts,
    /// A path or a list of them.
    Inputs,
    /// As `Inputs`, or a list of `{ path, weight }`.
    Sources,
    OneOf(&'static [&'static str]),
    /// One of these names, which documents describe as a text and leave to the key's description.
    Quoted(&'static [&'static str]),
    /// A list of some of these names, each once.
    SomeOf(&'static [&'static str]),
    /// A list of some of the [parts of a model](super::values::PARTS), each once.
    Parts,
    /// The name or the path of a tokenizer.
    Tokenizer,
    /// `"half"`, a number of layers, a list of indices, or another [`LayerChoice`].
    Layers,
    /// Two numbers.
    Pair,
    /// A list of [baselines](super::values::BaselineConfig).
    Baselines,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Count => f.write_str("a whole number"),
            Real => f.write_str("a number"),
            Flag => f.write_str("true or false"),
            Text | Quoted(_) | Tokenizer => f.write_str("a text in quotes"),
            Texts | Parts => f.write_str("a list of texts"),
            Inputs => f.write_str("a text in quotes or a list of texts"),
            Sources => f.write_str(
                "a text in quotes, a list of texts or a list of { path = \"...\", weight = 1.0 }",
            ),
            OneOf(names) => write!(f, "one of {}", names.join(", ")),
            SomeOf(names) => write!(f, "a list of any of {}", names.join(", ")),
            Layers => {
                f.write_str("\"half\", \"auto\", a number of layers, a range \"a..b\", a list of layer indices, or \"influence:n\", \"angular:n\", \"loss:n\" or \"spread:n\"")
            }
            Pair => f.write_str("a list of two numbers"),
            Baselines => f.write_str("a list of sections [[baseline]]"),
        }
    }
}

/// A type that a key can have.
pub(super) trait KeyType {
    const KIND: Kind;

    /// Whether the value is absent, so that it is not written.
    fn is_absent(&self) -> bool {
        false
    }
}

/// [`KeyType::is_absent`] as a function, for serde.
pub(super) fn is_absent<T: KeyType>(value: &T) -> bool {
    value.is_absent()
}

impl<T: KeyType> KeyType for Option<T> {
    const KIND: Kind = T::KIND;

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

macro_rules! kinds {
    ($($type:ty => $kind:expr),* $(,)?) => {
        $(impl KeyType for $type {
            const KIND: Kind = $kind;
        })*
    };
}

kinds! {
    u32 => Count,
    u64 => Count,
    usize => Count,
    f64 => Real,
    bool => Flag,
    [f64; 2] => Pair,
    String => Text,
    Vec<String> => Texts,
    TextInputs => Inputs,
    TrainTexts => Sources,
    TokenizerChoice => Tokenizer,
    LayerChoice => Layers,
    Vec<Part> => Parts,
    Family => OneOf(&["gpt2", "llama"]),
    PrecisionChoice => Quoted(&PrecisionChoice::NAMES),
    OptimizerChoice => OneOf(&["adamw", "muon"]),
    ShardChoice => OneOf(&["none", "optimizer"]),
    MuonScale => OneOf(&["original", "match_rms_adamw"]),
    Schedule => OneOf(&["cosine", "linear", "constant", "wsd"]),
    GrowMode => OneOf(&["restart", "keep"]),
    GrowSource => OneOf(&GrowSource::NAMES),
    PolicyMode => OneOf(&["ask", "pause", "auto"]),
    Vec<Occasion> => SomeOf(&Occasion::NAMES),
    Bell => OneOf(&["off", "bell", "osc9"]),
}
