//! The table of keys, except those that open views and layers.

use crate::dashboard::keys::{Binding, Differs, Scope};

/// Makes a row of the table. The help of its command is looked up when the table is used.
pub const fn key(
    scope: Scope,
    keys: &'static [&'static str],
    command: &'static str,
    footer: &'static str,
    differs: Differs,
) -> Binding {
    Binding {
        scope,
        keys,
        command,
        footer,
        differs,
        help: "",
        control: false,
    }
}

use Differs::{Appears, Goes, Journals, Moves, Redraws};
use Scope::{Chart, Confirm, Global, Layer, Replay, View};

/// All keys except those that open views and layers; [`bindings`] has all of them.
#[rustfmt::skip]
pub const KEYS: &[Binding] = &[
    key(Global, &["p"], "pause-resume", "pause", Journals("command")),
    key(Global, &["c"], "checkpoint", "ckpt", Journals("checkpoint")),
    key(Global, &["f"], "freeze", "freeze", Appears("FROZEN")),
    key(Global, &["Ctrl-L"], "redraw", "", Redraws),
    key(Global, &["Ctrl-Z"], "suspend", "", Appears("cannot suspend")),

    key(Chart, &["s"], "smoothing", "", Moves(&[])),
    key(Chart, &["y"], "log-scale", "", Appears("· log")),
    key(Chart, &["Y"], "fit", "", Appears("y all (Y)")),
    key(Chart, &["o"], "overlay", "", Moves(&[])),
    key(Chart, &["t"], "gap-chart", "", Appears("gap to reference")),
    key(Chart, &["x"], "x-axis", "", Appears("tokens 0")),
    key(Chart, &["+"], "zoom in", "", Appears("· x2")),
    key(Chart, &["-"], "zoom out", "", Goes(&["+"], "· x2")),
    key(Chart, &["="], "zoom reset", "", Moves(&[])),
    key(Chart, &["<", "Left"], "pan left", "", Moves(&["+", "+"])),
    key(Chart, &[">", "Right"], "pan right", "", Moves(&["+", "+", "<", "<"])),
    key(Chart, &["v"], "cursor", "", Moves(&[])),
    key(Chart, &["h"], "cursor left", "", Moves(&["v"])),
    key(Chart, &["l"], "cursor right", "", Moves(&["v", "h"])),
    key(Chart, &["]"], "series next", "", Moves(&[])),
    key(Chart, &["["], "series previous", "", Moves(&[])),

    key(Replay, &["Space"], "play", "play", Appears("Space pause")),
    key(Replay, &["["], "mark back", "mark", Moves(&[])),
    key(Replay, &["]"], "mark forward", "mark", Moves(&[])),
    key(Replay, &[","], "event back", "", Moves(&[])),
    key(Replay, &["."], "event forward", "", Moves(&[])),
    key(Replay, &["{"], "slower", "slower", Moves(&[])),
    key(Replay, &["}"], "faster", "faster", Moves(&[])),
    key(Replay, &["Home", "g g"], "start", "", Moves(&[])),
    key(Replay, &["End", "G"], "end", "", Moves(&[])),
    key(Replay, &["g 0-9"], "tenths", "", Moves(&[])),

    key(View("overview"), &["Esc"], "dismiss", "", Goes(&[], "Esc dismiss")),

    key(View("log"), &["Up", "k"], "previous", "up", Moves(&[])),
    key(View("log"), &["Down", "j"], "next", "down", Moves(&["g", "g"])),
    key(View("log"), &["PgUp"], "page up", "", Moves(&[])),
    key(View("log"), &["PgDn"], "page down", "", Moves(&["g", "g"])),
    key(View("log"), &["g g"], "top", "top", Moves(&[])),
    key(View("log"), &["G"], "bottom", "follow", Moves(&["g", "g"])),
    key(View("log"), &["n"], "next match", "", Moves(&["/", "e", "v", "a", "l", "Enter", "N"])),
    key(View("log"), &["N"], "previous match", "", Moves(&["/", "e", "v", "a", "l", "Enter"])),
    key(View("log"), &["w"], "wrap", "wrap", Appears("cut")),
    key(View("log"), &["!"], "warnings", "warnings", Appears("warnings alone")),
    key(View("log"), &["y"], "copy", "", Appears("copied")),
    key(View("log"), &["Esc"], "back", "", Goes(&["/", "e", "v", "a", "l", "Enter"], "/eval")),

    key(View("eval"), &["Up", "k"], "previous", "", Moves(&["j"])),
    key(View("eval"), &["Down", "j"], "next", "", Moves(&[])),
    key(View("eval"), &["PgUp"], "page up", "", Moves(&["j"])),
    key(View("eval"), &["PgDn"], "page down", "", Moves(&[])),
    key(View("eval"), &["g g"], "top", "", Moves(&["j"])),
    key(View("eval"), &["G"], "bottom", "", Moves(&[])),

    key(View("home"), &["Enter"], "accept", "open", Appears("Enter resumes it")),
    key(View("home"), &["n"], "new run", "new", Appears(" new run ")),
    key(View("home"), &["w"], "watch", "watch", Appears("/100,000")),
    key(View("home"), &["q", "Esc", "Ctrl-C"], "back", "quit", Differs::Ends),
    key(View("home"), &["Up", "k"], "previous", "", Moves(&["j"])),
    key(View("home"), &["Down", "j"], "next", "Up Down=choose", Moves(&[])),
    key(View("home"), &["PgUp"], "page up", "", Moves(&["G"])),
    key(View("home"), &["PgDn"], "page down", "PgUp PgDn=page", Moves(&[])),
    key(View("home"), &["Home", "g g"], "top", "", Moves(&["j"])),
    key(View("home"), &["End", "G"], "bottom", "", Moves(&[])),
    key(View("demo"), &["q", "Esc", "Ctrl-C"], "back", "quit", Differs::Ends),

    key(Layer("decision"), &["Up", "k"], "previous", "", Moves(&["j"])),
    key(Layer("decision"), &["Down", "j", "Tab"], "next", "Up Down=choose", Moves(&[])),
    key(Layer("decision"), &["+", "Right", "l"], "more", "+ -=amount", Moves(&["j"])),
    key(Layer("decision"), &["-", "Left", "h"], "less", "", Moves(&["j"])),
    key(Layer("decision"), &["m"], "mode", "mode", Appears("keep")),
    key(Layer("decision"), &["PgUp"], "page up", "", Moves(&["PgDn"])),
    key(Layer("decision"), &["PgDn"], "page down", "", Moves(&[])),
    key(Layer("decision"), &["r"], "refresh", "refresh", Journals("command")),
    key(Layer("decision"), &["Enter"], "accept", "confirm", Appears("Esc cancel")),
    key(Layer("decision"), &["Esc"], "back", "close", Goes(&[], "evidence of step")),
    key(Layer("decision"), &["Ctrl-C"], "leave", "", Appears(" leave ")),

    key(Confirm, &["Enter", "y"], "accept", "confirm", Journals("command")),
    key(Confirm, &["Esc", "n", "Ctrl-C"], "back", "cancel", Goes(&[], "Esc cancel")),
    key(Confirm, &["PgUp"], "page up", "", Moves(&["PgDn"])),
    key(Confirm, &["PgDn"], "page down", "", Moves(&[])),

    key(Layer("rollback"), &["Up", "k"], "previous", "", Moves(&["j"])),
    key(Layer("rollback"), &["Down", "j", "Tab"], "next", "Up Down=choose", Moves(&[])),
    key(Layer("rollback"), &["PgUp"], "page up", "", Moves(&["j"])),
    key(Layer("rollback"), &["PgDn"], "page down", "", Moves(&[])),
    key(Layer("rollback"), &["Home", "g g"], "top", "", Moves(&["j"])),
    key(Layer("rollback"), &["End", "G"], "bottom", "", Moves(&[])),
    key(Layer("rollback"), &["y"], "copy", "", Appears("copied")),
    key(Layer("rollback"), &["Enter"], "accept", "confirm", Appears("Esc cancel")),
    key(Layer("rollback"), &["Esc", "q", "Ctrl-C"], "back", "cancel", Goes(&[], " roll back ")),

    key(Layer("leave"), &["Up", "k"], "previous", "", Moves(&["j"])),
    key(Layer("leave"), &["Down", "j", "Tab"], "next", "Up Down=choose", Moves(&[])),
    key(Layer("leave"), &["Enter"], "accept", "confirm", Differs::Ends),
    key(Layer("leave"), &["Esc", "n", "Ctrl-C"], "back", "cancel", Goes(&[], " leave ")),

    key(Layer("command"), &["Up"], "older", "", Moves(&["f", "r", "e", "e", "z", "e", "Enter", ":"])),
    key(Layer("command"), &["Down"], "newer", "", Moves(&["f", "r", "e", "e", "z", "e", "Enter", ":", "Up"])),
    key(Layer("command"), &["Tab"], "complete", "complete", Moves(&["z"])),
    key(Layer("command"), &["Enter"], "accept", "run", Goes(&[], " command ")),
    key(Layer("command"), &["Esc", "Ctrl-C"], "back", "close", Goes(&[], " command ")),

    key(Layer("new run"), &["Enter"], "accept", "start", Appears("cannot start")),
    key(Layer("new run"), &["Tab"], "complete", "complete", Moves(&[])),
    key(Layer("new run"), &["Up"], "previous", "", Moves(&["Down"])),
    key(Layer("new run"), &["Down"], "next", "Up Down=field", Moves(&[])),
    key(Layer("new run"), &["PgUp"], "page up", "", Moves(&["b", "a", "d", "Enter", "PgDn"])),
    key(Layer("new run"), &["PgDn"], "page down", "", Moves(&["b", "a", "d", "Enter"])),
    key(Layer("new run"), &["Esc", "Ctrl-C"], "back", "close", Goes(&[], " new run ")),

    key(Layer("search"), &["Enter"], "accept", "search", Goes(&["e"], " search ")),
    key(Layer("search"), &["Esc", "Ctrl-C"], "back", "close", Goes(&[], " search ")),

    key(Layer("info"), &["Up", "k"], "previous", "", Moves(&["j"])),
    key(Layer("info"), &["Down", "j"], "next", "scroll", Moves(&[])),
    key(Layer("info"), &["PgUp"], "page up", "", Moves(&["j"])),
    key(Layer("info"), &["PgDn"], "page down", "", Moves(&[])),
    key(Layer("info"), &["Home", "g g"], "top", "", Moves(&["j"])),
    key(Layer("info"), &["End", "G"], "bottom", "", Moves(&[])),
    key(Layer("info"), &["Esc", "i"], "back", "close", Goes(&[], " figures ")),

    key(Layer("since"), &["Up", "k"], "previous", "", Moves(&["j"])),
    key(Layer("since"), &["Down", "j"], "next", "scroll", Moves(&[])),
    key(Layer("since"), &["PgUp"], "page up", "", Moves(&["j"])),
    key(Layer("since"), &["PgDn"], "page down", "", Moves(&[])),
    key(Layer("since"), &["Home", "g g"], "top", "", Moves(&["j"])),
    key(Layer("since"), &["End", "G"], "bottom", "", Moves(&[])),
    key(Layer("since"), &["Esc", "S"], "back", "close", Goes(&[], "since you last looked")),

    key(Layer("help"), &["Up", "k"], "previous", "", Moves(&["j"])),
    key(Layer("help"), &["Down", "j"], "next", "scroll", Moves(&[])),
    key(Layer("help"), &["PgUp"], "page up", "", Moves(&["j"])),
    key(Layer("help"), &["PgDn"], "page down", "", Moves(&[])),
    key(Layer("help"), &["Home", "g g"], "top", "", Moves(&["j"])),
    key(Layer("help"), &["End", "G"], "bottom", "", Moves(&[])),
    key(Layer("help"), &["Esc", "?"], "back", "close", Goes(&[], "Esc closes")),
];

/// Why the keys of a scrollable panel hide those of a replay.
const PAGES: &str = "the panel's own ends are meant while it is open";

/// Keys that hide another key on purpose: the inner scope, the key, and the reason.
#[rustfmt::skip]
pub const SHADOWS: &[(Scope, &str, &str)] = &[
    (Replay, "[", "a replay is moved by its marks; the small series can be chosen by their commands"),
    (Replay, "]", "a replay is moved by its marks; the small series can be chosen by their commands"),
    (View("log"), "G", "the log's end is meant where the log is shown; End is the replay's"),
    (View("log"), "g g", "the log's start is meant where the log is shown; Home is the replay's"),
    (View("eval"), "G", "the end of the tasks is meant where they are shown; End is the replay's"),
    (View("eval"), "g g", "the first tasks are meant where they are shown; Home is the replay's"),
    (Layer("info"), "Home", PAGES),
    (Layer("info"), "g g", PAGES),
    (Layer("info"), "End", PAGES),
    (Layer("info"), "G", PAGES),
    (Layer("help"), "Home", PAGES),
    (Layer("help"), "g g", PAGES),
    (Layer("help"), "End", PAGES),
    (Layer("help"), "G", PAGES),
    (Layer("since"), "Home", PAGES),
    (Layer("since"), "g g", PAGES),
    (Layer("since"), "End", PAGES),
    (Layer("since"), "G", PAGES),
    (Layer("info"), "i", "the key that opens the figures closes them"),
    (Layer("since"), "S", "the key that opens what has happened closes it"),
    (Layer("help"), "?", "the key that opens the help closes it"),
];
