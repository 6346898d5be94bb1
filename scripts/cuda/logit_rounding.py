#!/usr/bin/env python3
"""What logits in bf16 cost: the error of losses and of gradients, by the offset that all logits of a row share.

    logit_rounding.py [LOGITS.npy]      f32 [rows, vocabulary]; without a file, rows are drawn

A softmax does not depend on an offset, and the steps of bf16 do: 2^-7 of a number's size. The published GPT-2 models have logits
near -35 to -110. Needs numpy.
"""

import sys

import numpy as np


def bf16(x):
    """Rounds f32 to the nearest bf16, ties to even."""
    bits = x.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def main():
    rng = np.random.default_rng(7)
    if len(sys.argv) > 1:
        logits = np.load(sys.argv[1]).astype(np.float64)
    else:
        # Rows with a mean loss near 3.3, as a trained model's: a likely target among many unlikely tokens.
        logits = rng.normal(0, 2.2, (512, 50257))
        logits[np.arange(512), 0] += 8.5 + rng.normal(0, 3, 512)
    rows = np.arange(len(logits))
    targets = np.zeros(len(logits), int) if len(sys.argv) < 2 else logits.argmax(1)
    logits -= logits.mean(1, keepdims=True)
    print("offset   mean loss off   of a token (s.d.)   gradient off, of its norm        f32: mean loss off")
    for offset in [0, -35, -70, -100, -110]:
        shifted = (logits + offset).astype(np.float32)
        exact = softmax(shifted.astype(np.float64))
        gradient = exact.copy()
        gradient[rows, targets] -= 1
        off, grads = [], []
        for rounded in [bf16(shifted), shifted]:
            z = rounded.astype(np.float64)
            # A GPU sums exponentials in f32; the softmax here is in f64, so that rounding of logits is all that is seen.
            p = softmax(z)
            off.append(np.log(exact[rows, targets]) - np.log(p[rows, targets]))
            grads.append(np.linalg.norm(p - exact) / np.linalg.norm(gradient))
        half, whole = off
        print(f"{offset:6d} {half.mean():15.5f} {half.std():19.4f} {grads[0]:27.4f} {whole.mean():25.7f}")


if __name__ == "__main__":
    main()
