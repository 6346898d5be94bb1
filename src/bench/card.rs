//! Lists the peak figures of GPUs.

/// Returns the dense bf16 FLOP/s of a GPU by its driver's name for it, from NVIDIA's data sheets (without sparsity, sums in f32).
pub fn peak_bf16(name: &str) -> Option<f64> {
    // The first entry that the name contains counts, so longer names come first.
    const CARDS: [(&str, f64); 17] = [
        ("GB200", 2500e12),
        ("B200", 2250e12),
        ("GH200", 989.4e12),
        ("H200 NVL", 835e12),
        ("H200", 989.4e12),
        ("H100 NVL", 835e12),
        ("H100 PCIe", 756e12),
        ("H100", 989.4e12),
        ("A100", 312e12),
        ("A40", 149.7e12),
        ("A30", 165e12),
        ("A10", 125e12),
        ("L40S", 362e12),
        ("L40", 181e12),
        ("L4", 121e12),
        ("RTX 4090", 165.2e12),
        ("RTX 3090", 71e12),
    ];
    let known = CARDS.iter().find(|(card, _)| name.contains(card));
    known.map(|(_, flops)| *flops)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_told_apart() {
        assert_eq!(peak_bf16("NVIDIA H100 80GB HBM3"), Some(989.4e12));
        assert_eq!(peak_bf16("NVIDIA H100 PCIe"), Some(756e12));
        assert_eq!(peak_bf16("NVIDIA L40S"), Some(362e12));
        assert_eq!(peak_bf16("NVIDIA L4"), Some(121e12));
        assert_eq!(peak_bf16("NVIDIA GeForce RTX 4090"), Some(165.2e12));
        assert_eq!(peak_bf16("Test GPU"), None);
    }
}
