//! The help, made from the tables of keys and commands.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::layer::{Layer, Opening, Room, Row, Step};
use super::scroll::{self, Scroll};
use crate::dashboard::keys::{Binding, Differs, Scope};
use crate::dashboard::message::Act;
use crate::dashboard::panels::scrubber;
use crate::dashboard::scene::Scene;
use crate::dashboard::ui::Context;

pub const ROW: Row = Row {
    id: "help",
    keys: &["?"],
    footer: "help",
    help: "show or hide this help",
    control: false,
    passes: true,
    differs: Differs::Appears("Esc closes"),
    open: |_| Opening::of(Help::default()),
};

#[derive(Debug, Default)]
struct Help(Scroll);

impl Layer for Help {
    fn row(&self) -> &'static Row {
        &ROW
    }

    fn act(&mut self, act: Act, _: bool, _: &mut Context<'_>) -> Step {
        if act == Act::Back {
            return Step::Close;
        }
        self.0.act(act);
        Step::Stay
    }

    fn lock(&self) -> Duration {
        Duration::ZERO
    }

    fn room(&self) -> Room {
        Room::Over
    }

    fn draw(&self, frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect, _: bool) {
        let name = ("keys", "? or Esc");
        scroll::draw(&self.0, frame, scene, area, name, lines(scene));
    }
}

/// Returns the keys that work in the present scopes, then those inside prompts.
fn lines<'a>(scene: &Scene<'_>) -> Vec<Line<'a>> {
    let entry = |key: &str, what: &str| {
        Line::from(vec![
            Span::styled(format!(" {key:<17}"), scene.theme.key),
            Span::styled(what.to_string(), scene.theme.plain),
        ])
    };
    let facts = scene.facts;
    let bindings = |scope: Scope| {
        let all = scene.tables.bindings.iter();
        all.filter(move |b: &&Binding| b.scope == scope)
    };
    let mut lines = Vec::new();
    let order = [
        Scope::Global,
        Scope::Replay,
        Scope::View(scene.ui.view),
        Scope::Chart,
    ];
    for scope in order.into_iter().filter(|s| scene.scopes.contains(s)) {
        let mut bindings = bindings(scope).peekable();
        if scope != Scope::Global && bindings.peek().is_some() {
            let title = format!(" {}:", scope.title());
            lines.push(Line::styled(title, scene.theme.dim));
        }
        for binding in bindings {
            if binding.control && facts.read_only {
                continue;
            }
            let help = match binding.command {
                "leave" if facts.read_only => "close this view",
                _ => binding.help,
            };
            lines.push(entry(&binding.label(), help));
        }
        if scope == Scope::Replay {
            lines.push(scrubber::legend(scene));
        }
    }
    if !facts.read_only {
        lines.push(Line::styled(" in decision:", scene.theme.dim));
        let decision = bindings(Scope::Layer("decision"));
        lines.extend(decision.map(|b| entry(&b.label(), b.help)));
    }
    lines
}
