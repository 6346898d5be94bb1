//! Sanitises arbitrary text. The result cannot control a terminal, is not longer than the text, does not change when it is sanitised
//! again, and fits into columns and JSON.

#![no_main]

use heirloom::text;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let foreign = String::from_utf8_lossy(bytes);
    let once = text::sanitize(&foreign);
    assert!(once.len() <= foreign.len());
    assert!(!once.contains(|c: char| c.is_control() || text::is_invisible(c)));
    assert_eq!(text::sanitize(&once), once);
    assert!(text::clean(&foreign).len() <= text::LONGEST);
    for columns in [0, 1, 7, 80] {
        assert_eq!(text::width(&text::fit(&once, columns)), columns);
    }
    // JSON texts escape line ends themselves.
    let printed = text::json(&foreign);
    assert!(
        !printed.contains(|c: char| c >= '\u{7f}' && (c.is_control() || text::is_invisible(c)))
    );
});
