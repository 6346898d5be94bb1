use candle_core::Result;
pub struct Tokenizer;
impl Tokenizer {
    pub fn padded_vocab(&self) -> usize {
        320
    }
    pub fn size(&self) -> usize {
        257
    }
    pub fn name(&self) -> &'static str {
        "byte"
    }
    pub fn tokenizer_json(&self) -> serde_json::Value {
        serde_json::json!({})
    }
}
pub struct Tokens(Vec<u16>);
impl Tokens {
    pub fn len(&self) -> usize {
        self.0.len()
    }
    pub fn fingerprint(&self) -> String {
        self.0.len().to_string()
    }
    pub fn copy_to(&self, start: usize, out: &mut [u32]) {
        for (o, t) in out.iter_mut().zip(&self.0[start..]) {
            *o = u32::from(*t);
        }
    }
}
pub struct Dataset {
    pub train: Tokens,
    pub val: Tokens,
    pub tokenizer: Tokenizer,
}
impl Dataset {
    pub fn open(
        _t: &str,
        _v: Option<&str>,
        f: f64,
        _tok: &str,
        _c: usize,
        _p: &dyn Fn(&str),
    ) -> Result<Self> {
        let text: Vec<u16> = include_str!("tinyshakespeare.txt")
            .bytes()
            .map(u16::from)
            .collect();
        let n = (text.len() as f64 * (1.0 - f)) as usize;
        Ok(Self {
            train: Tokens(text[..n].to_vec()),
            val: Tokens(text[n..].to_vec()),
            tokenizer: Tokenizer,
        })
    }
}
pub struct Sampler {
    pub seed: u64,
}
impl Sampler {
    pub fn starts(
        &self,
        stream: u64,
        step: u64,
        n: usize,
        n_tokens: usize,
        context: usize,
    ) -> Vec<usize> {
        (0..n as u64)
            .map(|i| {
                let h = blake3::hash(format!("{} {stream} {step} {i}", self.seed).as_bytes());
                (u64::from_le_bytes(h.as_bytes()[..8].try_into().unwrap())
                    % (n_tokens - context) as u64) as usize
            })
            .collect()
    }
}
pub fn fill_batch(
    tokens: &Tokens,
    starts: &[usize],
    t: usize,
    inputs: &mut [u32],
    targets: &mut [u32],
) {
    for (i, &s) in starts.iter().enumerate() {
        tokens.copy_to(s, &mut inputs[i * t..(i + 1) * t]);
        tokens.copy_to(s + 1, &mut targets[i * t..(i + 1) * t]);
    }
}
pub fn even_starts(n_tokens: usize, t: usize, n: usize) -> Vec<usize> {
    (0..n)
        .map(|i| {
            if n == 1 {
                0
            } else {
                i * (n_tokens - t - 1) / (n - 1)
            }
        })
        .collect()
}
pub fn even_starts_rank(n_tokens: usize, t: usize, n: usize) -> Vec<usize> {
    (0..n)
        .map(|i| {
            if n == 1 {
                0
            } else {
                i * (n_tokens - t) / (n - 1)
            }
        })
        .collect()
}
