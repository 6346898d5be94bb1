//! Reads arbitrary bytes as a line on the control socket, in either direction, and as a typed command. A message that is understood
//! is the same after it is written and read again, and contains no terminal control sequences.

#![no_main]

use heirloom::run::control::protocol::{Incoming, LONGEST_INCOMING, Outgoing};
use heirloom::run::event::Event;
use heirloom::run::words;
use heirloom::text::{is_invisible, json};
use libfuzzer_sys::fuzz_target;

fn harmless(text: &str) {
    let draws = |c: char| c.is_control() || is_invisible(c);
    assert!(!text.contains(draws), "{text:?}");
}

fuzz_target!(|bytes: &[u8]| {
    match Incoming::parse(bytes) {
        Ok(message) => {
            assert!(bytes.len() <= LONGEST_INCOMING);
            let line = message.to_line();
            harmless(line.trim_end());
            assert_eq!(Incoming::parse(line.trim_end().as_bytes()), Ok(message));
        }
        Err(refusal) => drop(refusal.to_string()),
    }
    let text = String::from_utf8_lossy(bytes);
    if let Ok(message) = Outgoing::parse(&text) {
        let line = message.to_line();
        harmless(line.trim_end());
        assert_eq!(Outgoing::parse(line.trim_end()), Ok(message.clone()));
        if let Outgoing::Event { event } = message
            && let Ok(event) = Event::from_line(&event.to_string())
        {
            harmless(&json(&event.to_line()));
        }
    }
    let said: Vec<&str> = text.split_whitespace().collect();
    if let Ok(command) = words::parse(&said) {
        drop(command.describe());
    }
});
