//! Token ids of requests, split between context and continuation as the harness splits them (`_encode_pair` and
//! `get_rolling_token_windows` of lm-evaluation-harness 0.4.13).

use anyhow::{Result, bail, ensure};

use crate::corpus::Tokenizer;
use crate::eval::tasks::{Answer, Document, Request};

/// Makes token ids of texts for one model.
#[derive(Debug, Clone)]
pub struct Encoder {
    tokenizer: Tokenizer,
    /// Put before every text that is not empty.
    bos: Option<u32>,
    /// The token that precedes a text without context.
    begin: u32,
    /// Text of the token `begin`: a text that starts with it gets no `bos`.
    begin_text: String,
    /// Most tokens that the model reads at once.
    context: usize,
}

/// Input tokens and the targets of the last of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// The tokens that the model reads.
    pub inputs: Vec<u32>,
    /// The requested score: the tokens after the last `targets.len()` inputs.
    pub targets: Vec<u32>,
    /// Tokens were cut off on the left.
    pub truncated: bool,
}

/// Token ids of a request, cut off on the left where the model's context cannot hold all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ids {
    pub context: Vec<u32>,
    pub continuation: Vec<u32>,
}

impl Encoder {
    /// Makes an encoder. `begin` is the token that stands for an empty context: the one that begins texts, else the one
    /// that ends them. With `bos`, that token is put before every other text.
    ///
    /// # Errors
    /// When `begin` is missing, or the tokenizer cannot decode it.
    pub fn new(
        tokenizer: Tokenizer,
        begin: Option<u32>,
        add_bos: bool,
        context: usize,
    ) -> Result<Self> {
        let Some(begin) = begin.or_else(|| tokenizer.end_of_text()) else {
            bail!(
                "the tokenizer {} has no begin-of-text or end-of-text token; tasks with an empty context need one",
                tokenizer.name()
            );
        };
        ensure!(context > 1, "a context of {context} tokens is too short");
        let begin_text = tokenizer.decode(&[begin])?;
        Ok(Self {
            tokenizer,
            bos: add_bos.then_some(begin),
            begin,
            begin_text,
            context,
        })
    }

    /// Returns, for every request of a document, what the model reads: one sequence, or the windows of a page.
    ///
    /// # Errors
    /// When a continuation has no token of its own, or more than the model's context; when a text cannot be encoded.
    pub fn sequences(&self, document: &Document) -> Result<Vec<Vec<Sequence>>> {
        let rolling = matches!(document.answer, Answer::Page { .. });
        let mut contexts: Vec<(&str, Vec<u32>)> = Vec::new();
        let mut all = Vec::with_capacity(document.requests.len());
        for request in &document.requests {
            all.push(match rolling {
                true => self.windows(&self.with_bos(&request.continuation)?),
                false => vec![self.pair(request, &mut contexts)?],
            });
        }
        Ok(all)
    }

    /// Returns the token ids of every request of a document. The context of a page is the token before its first window.
    ///
    /// # Errors
    /// As [`Self::sequences`].
    pub fn ids(&self, document: &Document) -> Result<Vec<Ids>> {
        let ids = |windows: Vec<Sequence>| {
            let mut ids = Ids::default();
            for window in windows {
                if ids.continuation.is_empty() {
                    // The last target is not an input.
                    let context = window.inputs.len() + 1 - window.targets.len();
                    ids.context = window.inputs[..context].to_vec();
                }
                ids.continuation.extend(window.targets);
            }
            ids
        };
        Ok(self.sequences(document)?.into_iter().map(ids).collect())
    }

    fn with_bos(&self, text: &str) -> Result<Vec<u32>> {
        let ids = self.tokenizer.encode(text)?;
        let has_its_own = !self.begin_text.is_empty() && text.starts_with(&self.begin_text);
        let bos = self.bos.filter(|_| !has_its_own);
        Ok(bos.into_iter().chain(ids).collect())
    }

    /// Splits a request between its context and its continuation. `contexts` remembers those of the same document.
    fn pair<'r>(
        &self,
        request: &'r Request,
        contexts: &mut Vec<(&'r str, Vec<u32>)>,
    ) -> Result<Sequence> {
        let (context, continuation) = match &*request.context {
            "" => {
                let ids = self.tokenizer.encode(&request.continuation)?;
                match ids.first() == Some(&self.begin) {
                    true => (vec![self.begin], ids[1..].to_vec()),
                    false => (vec![self.begin], ids),
                }
            }
            context => {
                // White space at the context's end goes to the continuation: tokens begin with it.
                let kept = trim_end(context);
                let moved = &context[kept.len()..];
                let whole = self.with_bos(&format!("{kept}{moved}{}", request.continuation))?;
                let known = contexts.iter().find(|(text, _)| *text == kept);
                let ids = match known {
                    Some((_, ids)) => ids.clone(),
                    None => {
                        let ids = self.with_bos(kept)?;
                        contexts.push((kept, ids.clone()));
                        ids
                    }
                };
                let continuation = whole.get(ids.len()..).unwrap_or_default().to_vec();
                (ids, continuation)
            }
        };
        self.sequence(context, continuation).map_err(|why| {
            let shown = crate::text::clean(&request.continuation);
            anyhow::anyhow!("the continuation {:?} {why}", crate::text::cut(&shown, 60))
        })
    }

    /// Cuts on the left what the model's context does not hold.
    fn sequence(&self, mut tokens: Vec<u32>, targets: Vec<u32>) -> Result<Sequence, String> {
        if targets.is_empty() {
            return Err(format!(
                "has no token of its own: the tokenizer {} joins it to its context",
                self.tokenizer.name()
            ));
        }
        if targets.len() > self.context {
            return Err(format!(
                "has {} tokens; the model's context has {}",
                targets.len(),
                self.context
            ));
        }
        tokens.extend(&targets);
        // The last token is only a target.
        tokens.pop();
        let cut = tokens.len().saturating_sub(self.context);
        if tokens.len() - cut < targets.len() {
            return Err("has nothing before it".into());
        }
        Ok(Sequence {
            inputs: tokens.split_off(cut),
            targets,
            truncated: cut > 0,
        })
    }

    /// Cuts a text into windows that predict every token once: whole contexts one after the other, the last one filled
    /// up on the left.
    fn windows(&self, tokens: &[u32]) -> Vec<Sequence> {
        let all: Vec<u32> = std::iter::once(self.begin)
            .chain(tokens.iter().copied())
            .collect();
        let mut windows = Vec::new();
        let mut predicted = 0;
        while predicted < tokens.len() {
            let end = (predicted + self.context).min(tokens.len());
            // Token i of the text is `all[i + 1]`, predicted by `all[i]`.
            windows.push(Sequence {
                inputs: all[end.saturating_sub(self.context)..end].to_vec(),
                targets: tokens[predicted..end].to_vec(),
                truncated: false,
            });
            predicted = end;
        }
        windows
    }
}

/// Cuts off the white space that Python's `str.rstrip` cuts off.
fn trim_end(text: &str) -> &str {
    text.trim_end_matches(|c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoder(context: usize, add_bos: bool) -> Encoder {
        Encoder::new(Tokenizer::byte(), None, add_bos, context).unwrap()
    }

    fn request(context: &str, continuation: &str) -> Document {
        Document {
            requests: vec![Request {
                context: context.into(),
                continuation: continuation.into(),
            }],
            answer: Answer::Word,
            group: None,
        }
    }

    fn bytes(text: &str) -> Vec<u32> {
        text.bytes().map(u32::from).collect()
    }

    fn only(e: &Encoder, context: &str, continuation: &str) -> Sequence {
        let mut all = e.sequences(&request(context, continuation)).unwrap();
        all.remove(0).remove(0)
    }

    #[test]
    fn white_space_moves_from_the_context_to_the_continuation() {
        let s = only(&encoder(64, false), "ab \u{a0}", "c");
        assert_eq!(s.targets, bytes(" \u{a0}c"));
        assert_eq!(s.inputs, bytes("ab \u{a0}"));
    }

    #[test]
    fn an_empty_context_is_the_token_between_documents() {
        let e = encoder(64, false);
        let s = only(&e, "", "ab");
        assert_eq!((s.inputs, s.targets), (vec![256, 97], bytes("ab")));
        let s = only(&e, "", "<|endoftext|>ab");
        assert_eq!((s.inputs, s.targets), (vec![256, 97], bytes("ab")));
        let s = only(&encoder(64, true), "a", "b");
        assert_eq!((s.inputs, s.targets), (vec![256, 97], bytes("b")));
    }

    #[test]
    fn long_texts_lose_their_beginning() {
        let e = encoder(4, false);
        let s = only(&e, "abcdef", "gh");
        assert!(s.truncated);
        assert_eq!((s.inputs, s.targets), (bytes("defg"), bytes("gh")));
        let s = only(&e, "abc", "de");
        assert!(!s.truncated && s.inputs == bytes("abcd"));
        let error = e.sequences(&request("a", "bcdefg")).unwrap_err();
        assert!(error.to_string().contains("has 6 tokens"), "{error}");
        let error = e.sequences(&request("a", "")).unwrap_err();
        assert!(error.to_string().contains("no token of its own"), "{error}");
    }

    #[test]
    fn ids_are_what_the_model_reads() {
        let e = encoder(4, false);
        let ids = |document: &Document| {
            let ids = e.ids(document).unwrap().remove(0);
            (ids.context, ids.continuation)
        };
        assert_eq!(ids(&request("ab", "cd")), (bytes("ab"), bytes("cd")));
        // At most five tokens are read and predicted.
        assert_eq!(ids(&request("abcdef", "gh")), (bytes("def"), bytes("gh")));
        assert_eq!(ids(&request("", "ab")), (vec![256], bytes("ab")));
        let page = Document {
            answer: Answer::Page { words: 1, bytes: 1 },
            ..request("", "abcdefghij")
        };
        assert_eq!(ids(&page), (vec![256], bytes("abcdefghij")));
    }

    #[test]
    fn windows_predict_every_token_once() {
        let page = |text: &str| Document {
            answer: Answer::Page { words: 1, bytes: 1 },
            ..request("", text)
        };
        let windows = |text: &str| encoder(4, false).sequences(&page(text)).unwrap().remove(0);
        let of = |w: &Sequence| (w.inputs.clone(), w.targets.clone());
        assert!(windows("").is_empty());
        let one = windows("abc");
        assert_eq!(
            one.iter().map(of).collect::<Vec<_>>(),
            [(vec![256, 97, 98], bytes("abc"))]
        );
        let several = windows("abcdefghij");
        let want = [
            (vec![256, 97, 98, 99], bytes("abcd")),
            (bytes("defg"), bytes("efgh")),
            (bytes("fghi"), bytes("ij")),
        ];
        assert_eq!(several.iter().map(of).collect::<Vec<_>>(), want);
    }
}
