//! Finds the known word that is most similar to a misspelled one.

/// Most bytes of a word that may be misspelled.
const LONGEST_WORD: usize = 100;

/// Returns the candidate most like `word`, if the similarity is at least `enough` (of 1).
pub fn best<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
    enough: f64,
) -> Option<&'a str> {
    // A longer word is not a misspelling; comparing takes time and memory that grow with its length.
    if word.len() > LONGEST_WORD {
        return None;
    }
    candidates
        .map(|c| (strsim::normalized_damerau_levenshtein(word, c), c))
        .filter(|(score, _)| *score >= enough)
        // Ties go to the first in the table.
        .fold(None, |best: Option<(f64, &str)>, found| match best {
            Some(best) if best.0 >= found.0 => Some(best),
            _ => Some(found),
        })
        .map(|(_, c)| c)
}
