//! Whatever bytes as a token file: its header is refused with a sentence, or the ids it promises are there. The same
//! holds for what is said of it: nothing in it draws by itself.

#![no_main]

use heirloom::corpus::token_file::{Format, header};
use heirloom::text::is_invisible;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for must_be_npy in [false, true] {
        match header::layout(bytes, must_be_npy) {
            Ok(layout) => {
                let size = layout.n.checked_mul(layout.width.bytes());
                let end = size.and_then(|size| size.checked_add(layout.offset));
                assert!(end.is_some_and(|end| end <= bytes.len()), "{layout:?}");
                assert!(!must_be_npy || layout.format != Format::NanoGpt);
            }
            Err(what) => {
                let draws = |c: char| c.is_control() || is_invisible(c);
                assert!(!what.is_empty() && !what.contains(draws), "{what:?}");
            }
        }
    }
});
