//! Values of arguments that several commands have.

use clap::builder::{
    OsStringValueParser, PossibleValuesParser, StringValueParser, TypedValueParser,
};

use crate::ops::PrecisionChoice;
use crate::text::exact;

/// Default length of windows, unless the model's context is shorter.
pub(super) const WINDOW: usize = 1024;

/// Describes the values of MODEL.
pub(super) const MODEL: &str = "A model's directory, a .gguf file, hf:OWNER/NAME[@REVISION], or RUN, RUN@best, RUN@reference, RUN@STEP, RUN@CHECKPOINT; a run alone means the end of its last round";

/// Reads the precision of `--dtype`; the names are listed in help and completed.
pub(super) fn precision() -> impl TypedValueParser<Value = PrecisionChoice> {
    PossibleValuesParser::new(PrecisionChoice::NAMES)
        .try_map(|name| name.parse::<PrecisionChoice>())
}

/// Reads a number above 0, such as the rate of a link.
pub(super) fn above_zero() -> impl TypedValueParser<Value = f64> {
    StringValueParser::new().try_map(|given| match given.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err(format!("expected a number above 0, got {given:?}")),
    })
}

/// Reads an argument that names a run, a model or a file: unchanged if it is UTF-8, otherwise with the escapes of
/// [`exact::to_text`]. So names in `--json` output can be used as arguments.
pub(super) fn exact_text() -> impl TypedValueParser<Value = String> {
    OsStringValueParser::new().map(|given| match given.into_string() {
        Ok(text) => text,
        Err(bytes) => exact::to_text(&bytes).into_owned(),
    })
}
