//! Forecasts of a phase's validation loss: the loss and the gap at its end, and whether the fall is over.
//!
//! A phase's own first evaluations do not show the effect of annealing the learning rate. That comes from another phase, the template: the
//! reference's own curve, or an earlier round's ([`shape`]). Two quantities are never mixed: the *gap*, to the loss of the finished
//! reference, and the *lead*, to a template's loss at the same step, which is used here alone.
//!
//! The constants below were fitted to published curves and to small trainings of our own; `docs/advice.md` has the measurements.

mod answer;
mod curve;
mod expect;
mod fit;
mod known;
mod log;
mod methods;
mod question;
mod shape;
#[cfg(test)]
mod tests;

pub use answer::{PLATEAU, final_loss, plateau};
pub use curve::Curve;
pub use expect::LEAST;
pub use known::{Known, Outlook, Past};
pub use log::read as read_log;
pub use question::{Question, Template};
