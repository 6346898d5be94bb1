//! Chooses the algorithm of each matrix product once, by timing, and keeps the choice, so that the same products have the same bits from
//! then on.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// cuBLASLt's description of an algorithm, which may be stored and used again with the same version of the library (NVIDIA's
/// documentation of `cublasLtMatmulAlgo_t`).
pub type Algorithm = [u64; 8];

/// The first line of a file of choices.
const HEAD: &str = "heirloom algorithms 1";

/// Share of the time of the library's own first choice that another algorithm must stay below: differences within the noise of the timing
/// should not decide.
const MARGIN: f64 = 0.98;

/// A product on a card with a library.
type ProductKey = (String, String);

/// Algorithms by product.
#[derive(Debug, Default)]
pub struct Choices {
    known: BTreeMap<ProductKey, Algorithm>,
    /// Whether there are choices that did not come from a file and have not been written to one.
    changed: bool,
}

impl Choices {
    /// Takes over the choices in a file's text.
    ///
    /// # Errors
    /// Names the line that is not one of [`Self::text`]'s; nothing is taken over then.
    pub fn take_over(&mut self, text: &str) -> Result<(), String> {
        let mut lines = text.lines().zip(1..);
        if lines.next().is_none_or(|(head, _)| head != HEAD) {
            return Err(format!("its first line is not {HEAD:?}"));
        }
        let mut found = Vec::new();
        for (line, number) in lines {
            let one = parse(line).ok_or_else(|| format!(
                "line {number} is not a library, a product and an algorithm of 128 hexadecimal digits, with tabs between them"
            ))?;
            found.push(one);
        }
        self.known.extend(found);
        Ok(())
    }

    /// Returns all choices as the text of a file.
    pub fn text(&self) -> String {
        let mut text = format!("{HEAD}\n");
        for ((library, product), algorithm) in &self.known {
            let digits: String = algorithm
                .iter()
                .map(|word| format!("{word:016x}"))
                .collect();
            text.push_str(&format!("{library}\t{product}\t{digits}\n"));
        }
        text
    }

    /// Returns the text of a file if there are new choices since the last call.
    pub fn news(&mut self) -> Option<String> {
        std::mem::take(&mut self.changed).then(|| self.text())
    }

    /// Returns the algorithm for a product: the known one if `is_usable`, else the fastest of `candidates`, the library's own first
    /// choice first, which is known from then on. `time` returns seconds, `None` for an algorithm that fails. Returns
    /// `None` if all fail.
    pub fn choose(
        &mut self,
        library: &str,
        product: &str,
        candidates: &[Algorithm],
        is_usable: impl FnOnce(&Algorithm) -> bool,
        mut time: impl FnMut(&Algorithm) -> Option<f64>,
    ) -> Option<Algorithm> {
        let name = (one_field(library), one_field(product));
        if let Some(known) = self.known.get(&name)
            && is_usable(known)
        {
            return Some(*known);
        }
        let mut best: Option<(Algorithm, f64)> = None;
        for (i, candidate) in candidates.iter().enumerate() {
            let Some(seconds) = time(candidate).filter(|seconds| seconds.is_finite()) else {
                continue;
            };
            // The library's own first choice must be beaten by the margin; of those that beat it, the fastest is taken.
            let limit = if i == 0 { MARGIN } else { 1.0 };
            match best {
                Some((_, to_beat)) if seconds >= to_beat => {}
                _ => best = Some((*candidate, seconds * limit)),
            }
        }
        let (algorithm, _) = best?;
        self.known.insert(name, algorithm);
        self.changed = true;
        Some(algorithm)
    }
}

/// Removes the characters that separate fields and lines.
fn one_field(text: &str) -> String {
    text.replace(['\t', '\n', '\r'], " ")
}

fn parse(line: &str) -> Option<(ProductKey, Algorithm)> {
    let mut fields = line.split('\t');
    let (library, product, digits) = (fields.next()?, fields.next()?, fields.next()?);
    let plain = digits.len() == 128 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if fields.next().is_some() || library.is_empty() || product.is_empty() || !plain {
        return None;
    }
    let mut algorithm = [0; 8];
    for (i, word) in algorithm.iter_mut().enumerate() {
        *word = u64::from_str_radix(digits.get(16 * i..16 * (i + 1))?, 16).ok()?;
    }
    Some(((library.into(), product.into()), algorithm))
}

/// The choices of this process, for all its cards.
pub fn choices() -> MutexGuard<'static, Choices> {
    static CHOICES: Mutex<Choices> = Mutex::new(Choices {
        known: BTreeMap::new(),
        changed: false,
    });
    CHOICES.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARD: &str = "a card, 9.0, cuBLASLt 130200";

    fn algorithm(n: u64) -> Algorithm {
        [n, u64::MAX - n, 0, 1, 2, 3, 4, n << 60]
    }

    fn choose(choices: &mut Choices, product: &str, seconds: &[Option<f64>]) -> Option<u64> {
        let all: Vec<_> = (0..seconds.len() as u64).map(algorithm).collect();
        let time = |a: &Algorithm| seconds[a[0] as usize];
        let chosen = choices.choose(CARD, product, &all, |_| true, time);
        chosen.map(|a| a[0])
    }

    #[test]
    fn the_fastest_is_chosen_once() {
        let mut choices = Choices::default();
        let seconds = [Some(5.0), Some(3.0), Some(2.0), Some(4.0)];
        assert_eq!(choose(&mut choices, "a", &seconds), Some(2));
        assert!(choices.news().is_some());
        // Known now, so that times have no influence.
        assert_eq!(choose(&mut choices, "a", &[Some(0.1); 3]), Some(2));
        assert_eq!(choices.news(), None);
        assert_eq!(choose(&mut choices, "b", &[Some(0.1); 3]), Some(0));
    }

    #[test]
    fn the_librarys_first_choice_stays_unless_another_is_clearly_faster() {
        let mut choices = Choices::default();
        assert_eq!(choose(&mut choices, "a", &[Some(1.0), Some(0.99)]), Some(0));
        assert_eq!(choose(&mut choices, "b", &[Some(1.0), Some(0.97)]), Some(1));
    }

    #[test]
    fn algorithms_that_fail_are_not_chosen() {
        let mut choices = Choices::default();
        let failing = [None, Some(f64::NAN), Some(3.0), None];
        assert_eq!(choose(&mut choices, "a", &failing), Some(2));
        assert_eq!(choose(&mut choices, "b", &[None, None]), None);
        assert_eq!(choose(&mut choices, "b", &[]), None);
    }

    #[test]
    fn choices_are_the_same_when_they_are_read_again() {
        let mut first = Choices::default();
        choose(&mut first, "a product\tof 2", &[Some(2.0), Some(1.0)]);
        choose(&mut first, "b", &[Some(2.0)]);
        let text = first.news().unwrap();
        let mut second = Choices::default();
        second.take_over(&text).unwrap();
        assert_eq!(second.text(), text);
        assert_eq!(second.news(), None);
        let slow = [Some(1.0), Some(9.0)];
        assert_eq!(choose(&mut second, "a product\tof 2", &slow), Some(1));
        let other = second.choose(
            "another card",
            "b",
            &[algorithm(7)],
            |_| true,
            |_| Some(1.0),
        );
        assert_eq!(other, Some(algorithm(7)));
    }

    #[test]
    fn a_known_algorithm_that_the_library_refuses_is_chosen_again() {
        let mut choices = Choices::default();
        choose(&mut choices, "a", &[Some(2.0), Some(1.0)]);
        let again = choices.choose(CARD, "a", &[algorithm(5)], |_| false, |_| Some(1.0));
        assert_eq!(again, Some(algorithm(5)));
    }

    #[test]
    fn what_is_not_such_a_file_is_refused_by_line() {
        let whole = format!("{HEAD}\n{CARD}\ta\t{}\n", "0".repeat(128));
        Choices::default().take_over(&whole).unwrap();
        for bad in [
            String::new(),
            "something else\n".into(),
            format!("{HEAD}\n{CARD}\ta\n"),
            format!("{HEAD}\n{CARD}\ta\t{}\n", "0".repeat(127)),
            format!("{HEAD}\n{CARD}\ta\t{}\n", "x".repeat(128)),
            format!("{HEAD}\n{CARD}\ta\t{}\tmore\n", "0".repeat(128)),
        ] {
            let mut choices = Choices::default();
            assert!(choices.take_over(&bad).is_err(), "{bad}");
            assert_eq!(choices.text(), format!("{HEAD}\n"));
        }
    }
}
