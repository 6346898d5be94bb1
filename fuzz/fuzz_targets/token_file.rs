//! Reads arbitrary bytes as a token file. The header is refused with a sentence, or all of its ids can be read. Messages contain no
//! terminal control sequences.

#![no_main]

use heirloom::corpus::Width;
use heirloom::corpus::token_file::{Format, Named, header};
use heirloom::text::is_invisible;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let short = Named::Ids(Width::Two);
    let long = Named::Ids(Width::Four);
    for named in [Named::Bin, short, long, Named::Npy] {
        match header::layout(bytes, named) {
            Ok(layout) => {
                let size = layout.n.checked_mul(layout.width.bytes());
                let end = size.and_then(|size| size.checked_add(layout.offset));
                assert!(end.is_some_and(|end| end <= bytes.len()), "{layout:?}");
                let headless = layout.format == Format::NanoGpt;
                assert!(!headless || named != Named::Npy);
                assert!(!headless || named != short || layout.width == Width::Two);
                assert!(!headless || named != long || layout.width == Width::Four);
            }
            Err(what) => {
                let draws = |c: char| c.is_control() || is_invisible(c);
                assert!(!what.is_empty() && !what.contains(draws), "{what:?}");
            }
        }
    }
});
