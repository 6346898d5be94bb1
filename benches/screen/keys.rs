//! Measures the time from a key at a live screen to the end of the frame that shows its effect.

use std::time::{Duration, Instant};

use super::common::pty::Pty;

/// Number of times that all keys are pressed.
const ROUNDS: usize = 9;
/// Shortest and longest time between two keys, in milliseconds. It varies, so that keys fall at any time between two frames.
const GAP: (u64, u64) = (90, 130);
/// The sequence that ends a frame: the end of a synchronised update.
const FRAME_END: &[u8] = b"\x1b[?2026l";

/// A key, and the feature by which its frame is recognised.
struct Key {
    /// The bytes that a terminal sends for the key.
    bytes: &'static str,
    name: &'static str,
    shows: Shows,
}

/// The feature of a frame's text that shows a key's effect.
enum Shows {
    This(&'static str),
    Not(&'static str),
    /// The cursor is at a different step.
    CursorElsewhere,
}

use Shows::{CursorElsewhere, Not, This};

const fn key(bytes: &'static str, name: &'static str, shows: Shows) -> Key {
    Key { bytes, name, shows }
}

/// The text before the cursor's step.
const CURSOR: &str = "└ @";

/// Keys of several kinds. After the last one the screen is as it was before the first.
const KEYS: &[Key] = &[
    key("v", "v (cursor)", This(CURSOR)),
    key("h", "h (cursor left)", CursorElsewhere),
    key("l", "l (cursor right)", CursorElsewhere),
    key("v", "v (no cursor)", Not(CURSOR)),
    key("+", "+ (zoom)", This("· x2")),
    key("+", "+ (zoom)", This("· x4")),
    key("-", "- (zoom out)", This("· x2")),
    key("-", "- (zoom out)", Not("· x2")),
    key("y", "y (logarithmic)", This("· log")),
    key("y", "y (linear)", Not("· log")),
    key("Y", "Y (all values)", This("y all (Y)")),
    key("Y", "Y (fitted)", Not("y all (Y)")),
    key("4", "4 (log)", This("events ·")),
    key("!", "! (warnings)", This("warnings alone")),
    key("!", "! (every line)", Not("warnings alone")),
    key("w", "w (cut)", This("cut")),
    key("w", "w (wrap)", Not("cut")),
    key("1", "1 (overview)", Not("events ·")),
    key("?", "? (help)", This("Esc closes")),
    key("\x1b", "Esc (no help)", Not("Esc closes")),
    key("i", "i (figures)", This(" figures ")),
    key("i", "i (no figures)", Not(" figures ")),
    key(":", ": (command line)", This(" command ")),
    key("z", "z (typed)", Not("take-control")),
    key("\x1b", "Esc (no command line)", Not(" command ")),
];

/// Milliseconds from each key to the end of its frame.
pub struct Latencies {
    /// Latencies in ascending order, with the key's name; infinite if no frame before the next key shows the effect.
    sorted: Vec<(f64, &'static str)>,
}

impl Latencies {
    pub fn keys(&self) -> usize {
        self.sorted.len()
    }

    /// Returns the latency that this share of the keys did not exceed.
    pub fn quantile(&self, share: f64) -> f64 {
        let rank = (share * self.sorted.len() as f64).ceil() as usize;
        let value = self.sorted.get(rank.saturating_sub(1));
        value.map_or(f64::NAN, |(ms, _)| *ms)
    }

    /// Returns the keys that took longer than this, slowest first.
    pub fn slower_than(&self, ms: f64) -> impl Iterator<Item = &(f64, &'static str)> {
        self.sorted
            .iter()
            .rev()
            .take_while(move |(took, _)| *took > ms)
    }
}

/// Presses every key, and finds their frames in the program's output. Frames are parsed only afterwards, so that parsing takes no
/// time from the program.
pub fn press_all(pty: &mut Pty, size: (u16, u16)) -> Latencies {
    let began = Instant::now();
    let mut pressed = Vec::new();
    for i in 0..ROUNDS * KEYS.len() {
        let key = &KEYS[i % KEYS.len()];
        pressed.push((key, Instant::now()));
        pty.press(key.bytes);
        let more = i as u64 * 37 % GAP.1;
        std::thread::sleep(Duration::from_millis(GAP.0 + more));
    }
    latencies(&pressed, &frames(pty, size, began))
}

/// Returns the offsets after each frame's end.
pub fn frame_ends(written: &[u8]) -> impl Iterator<Item = usize> {
    memchr::memmem::find_iter(written, FRAME_END).map(|at| at + FRAME_END.len())
}

/// A frame: the time at which its last byte arrived, and the text of the screen then.
struct Frame {
    at: Instant,
    text: String,
}

impl Frame {
    /// Returns the position of the chart's cursor.
    fn cursor(&self) -> Option<&str> {
        let (_, rest) = self.text.split_once(CURSOR)?;
        rest.split(' ').next()
    }

    /// Whether this frame shows a key's effect, and the frame `before` does not.
    fn answers(&self, before: &Self, shows: &Shows) -> bool {
        let (now, then) = (&self.text, &before.text);
        match shows {
            This(words) => now.contains(words) && !then.contains(words),
            Not(words) => !now.contains(words) && then.contains(words),
            CursorElsewhere => self.cursor().is_some() && self.cursor() != before.cursor(),
        }
    }
}

/// Returns the last frame before a time, and all frames after it.
fn frames(pty: &Pty, (columns, rows): (u16, u16), from: Instant) -> Vec<Frame> {
    let (arrivals, written) = (pty.arrivals(), pty.written());
    let mut screen = vt100::Parser::new(rows, columns, 0);
    let (mut frames, mut shown) = (Vec::new(), 0);
    for end in frame_ends(&written) {
        screen.process(&written[shown..end]);
        shown = end;
        let arrival = arrivals.partition_point(|(_, total)| *total < end);
        let Some(&(at, _)) = arrivals.get(arrival) else {
            break;
        };
        if at < from {
            frames.clear();
        }
        let text = screen.screen().contents();
        frames.push(Frame { at, text });
    }
    frames
}

/// Finds the frame of each key among those before the next key.
fn latencies(pressed: &[(&'static Key, Instant)], frames: &[Frame]) -> Latencies {
    let mut sorted = Vec::new();
    for (i, (key, at)) in pressed.iter().enumerate() {
        let first = frames.partition_point(|f| f.at < *at);
        let next = pressed.get(i + 1).map(|(_, next)| *next);
        let end = next.map_or(frames.len(), |next| frames.partition_point(|f| f.at < next));
        // The last frame that cannot show the key's effect.
        let before = first.checked_sub(1).map(|before| &frames[before]);
        let answer = before.and_then(|before| {
            let mut drawn = frames[first..end].iter();
            drawn.find(|f| f.answers(before, &key.shows))
        });
        let took = answer.map_or(f64::INFINITY, |f| 1000.0 * (f.at - *at).as_secs_f64());
        sorted.push((took, key.name));
    }
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    Latencies { sorted }
}
