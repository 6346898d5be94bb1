//! Every key of the config, in the order of documents. The documentation, the type checks, the suggestions for misspelled
//! keys, completions and the checks of a resume all come from this table, which the
//! [declarations](super::declare) of the sections make up.

pub use super::key::{Key, Need, OnResume, Section, Stage};
pub use super::kind::Kind;
pub use super::nearest::best;
pub(super) use super::sections::SECTIONS;

const COUNT: usize = {
    let (mut count, mut section) = (0, 0);
    while section < SECTIONS.len() {
        count += SECTIONS[section].keys.len();
        section += 1;
    }
    count
};

const ALL: [Key; COUNT] = {
    let mut all = [SECTIONS[0].keys[0]; COUNT];
    let (mut count, mut section) = (0, 0);
    while section < SECTIONS.len() {
        let mut key = 0;
        while key < SECTIONS[section].keys.len() {
            all[count] = SECTIONS[section].keys[key];
            count += 1;
            key += 1;
        }
        section += 1;
    }
    all
};

/// All keys, by section.
pub const KEYS: &[Key] = &ALL;

/// Values with which runs of older programs were trained that did not write the key into a run's config, if they differ from the
/// present default.
pub(super) const FORMER_DEFAULTS: [(&str, &str); 1] = [("train.dtype", "\"f32\"")];

pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|k| k.path == path)
}

pub fn is_section(path: &str) -> bool {
    !path.is_empty() && SECTIONS.iter().any(|section| section.name == path)
}

/// Returns the known key with the spelling most like `path`; failing that, one of the same name in another section.
pub fn nearest(path: &str) -> Option<&'static str> {
    let name = |path: &'static str| path.rsplit('.').next().unwrap_or(path);
    let wanted = path.rsplit('.').next().unwrap_or(path);
    best(path, KEYS.iter().map(|k| k.path), 0.75).or_else(|| {
        let name = best(wanted, KEYS.iter().map(|k| name(k.path)), 0.75)?;
        KEYS.iter()
            .map(|k| k.path)
            .find(|p| p.ends_with(&format!(".{name}")))
    })
}

pub fn nearest_section(path: &str) -> Option<&'static str> {
    best(path, SECTIONS.iter().map(|section| section.name), 0.6)
}
