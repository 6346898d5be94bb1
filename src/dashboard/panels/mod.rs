//! Parts of the screen that several views and layers show.

pub mod confirm;
pub mod decision;
pub mod evidence;
pub mod figures;
pub mod measured;
pub mod menu;
pub mod notes;
pub mod result;
pub mod scrubber;
pub mod trouble;
