//! Whatever text: what is left cannot draw, is no longer, and stays as it is; columns and JSON hold it.

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
