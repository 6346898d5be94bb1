use crate::run::command::Request;
use crate::run::event::{Body, Event};
use crate::run::state::RunState;
pub trait Feed {
    fn drain(&mut self, into: &mut Vec<Event>) -> anyhow::Result<bool>;
    fn send(&mut self, request: Request) -> bool;
    fn read_only(&self) -> bool;
}
pub enum Exit {
    Detach,
    Closed,
    Hangup,
    QuitRequested,
}
pub struct Options {
    pub title: String,
}
pub struct LiveFeed;
impl LiveFeed {
    pub fn new(_e: std::sync::mpsc::Receiver<Event>, _c: std::sync::mpsc::Sender<Request>) -> Self {
        Self
    }
}
impl Feed for LiveFeed {
    fn drain(&mut self, _i: &mut Vec<Event>) -> anyhow::Result<bool> {
        Ok(false)
    }
    fn send(&mut self, _r: Request) -> bool {
        false
    }
    fn read_only(&self) -> bool {
        true
    }
}
pub fn run(_f: &mut dyn Feed, _o: &Options) -> anyhow::Result<(Exit, RunState)> {
    Ok((Exit::Closed, RunState::default()))
}
pub struct OutputGuard;
pub fn redirect_output(_l: &std::path::Path) -> std::io::Result<OutputGuard> {
    Ok(OutputGuard)
}
#[derive(Default)]
pub struct PlainPrinter;
impl PlainPrinter {
    pub fn line(&mut self, _s: &RunState, e: &Event) -> Option<String> {
        match &e.body {
            Body::Train { .. } => None,
            _ => Some(e.to_line()),
        }
    }
}
