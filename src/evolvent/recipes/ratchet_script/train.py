"""A byte-level language model, trained from nothing: the file that a proposer may edit.

Called as ``train.py FOLDER SEED DESCRIPTOR``. FOLDER holds ``train.txt`` and ``validation.txt``. Prints ``val_bpb``, in
bits a byte, and writes the trained model to DESCRIPTOR: a line of JSON (how to compute it), then its arrays as float32.
"""

import json
import os
import sys
from itertools import pairwise

import numpy as np

folder, seed, descriptor = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

BUDGET = 24576  # bytes predicted in training
CONTEXT = 6  # bytes seen before each
EMBED = 12  # numbers a byte
HIDDEN = 96  # units of a hidden layer
LAYERS = 1
BATCH = 128
RATE = 0.003
WARM_UP = 0.0  # share of the steps
FINAL = 1.0  # share of the rate that is left at the end
BETA1 = 0.9
BETA2 = 0.999
EPSILON = 1e-8
DECAY = 0.0  # of the weights, each step, times the rate
SMOOTHING = 0.0  # of the targets
GAIN = 1.0  # of the initial weights
CLIP = 10.0  # longest gradient
STEPS = BUDGET // BATCH

rng = np.random.default_rng(seed)
text = np.fromfile(f"{folder}/train.txt", dtype=np.uint8)
held_out = np.fromfile(f"{folder}/validation.txt", dtype=np.uint8)


def matrix(rows, columns):
    """Initial weights of a layer."""
    return (GAIN * rng.standard_normal((rows, columns)) / np.sqrt(rows)).astype(np.float32)


widths = [CONTEXT * EMBED] + [HIDDEN] * LAYERS
embedding = rng.standard_normal((256, EMBED)).astype(np.float32)
layers = [matrix(a, b) for a, b in pairwise(widths)]
head = matrix(widths[-1], 256)
biases = [np.zeros(w, np.float32) for w in widths[1:]] + [np.zeros(256, np.float32)]
weights = [embedding, *layers, head, *biases]
means = [np.zeros_like(w) for w in weights]
squares = [np.zeros_like(w) for w in weights]


def forward(seen):
    """Activations of each layer, then the logits; `seen` is (batch, CONTEXT) bytes."""
    outputs = [embedding[seen].reshape(len(seen), -1)]
    for layer, bias in zip(layers, biases, strict=False):
        outputs.append(np.tanh(outputs[-1] @ layer + bias))
    return outputs, outputs[-1] @ head + biases[-1]


def probabilities(logits):
    """Softmax by row."""
    grown = np.exp(logits - logits.max(1, keepdims=True))
    return grown / grown.sum(1, keepdims=True)


def gradients(seen, wanted):
    """Of the mean cross-entropy, in the order of `weights`."""
    outputs, logits = forward(seen)
    error = probabilities(logits) - SMOOTHING / 256
    error[np.arange(len(wanted)), wanted] -= 1 - SMOOTHING
    error /= len(wanted)
    of_biases, of_layers, of_head = [error.sum(0)], [], outputs[-1].T @ error
    flow = error @ head.T
    for k in reversed(range(LAYERS)):
        flow *= 1 - outputs[k + 1] ** 2
        of_layers.insert(0, outputs[k].T @ flow)
        of_biases.insert(0, flow.sum(0))
        flow = flow @ layers[k].T
    of_embedding = np.zeros_like(embedding)
    np.add.at(of_embedding, seen.ravel(), flow.reshape(-1, EMBED))
    return [of_embedding, *of_layers, of_head, *of_biases]


def rate_at(step):
    """Rises over the warm-up, then falls in a line."""
    if step < WARM_UP * STEPS:
        return RATE * (step + 1) / (WARM_UP * STEPS)
    return RATE * (1 - (1 - FINAL) * step / STEPS)


def validate():
    """Bits a byte on the validation text."""
    starts = np.arange(len(held_out) - CONTEXT)
    _, logits = forward(held_out[starts[:, None] + np.arange(CONTEXT)])
    chosen = probabilities(logits)[np.arange(len(starts)), held_out[starts + CONTEXT]]
    return -np.log2(chosen + 1e-30).mean()


for step in range(STEPS):
    starts = rng.integers(0, len(text) - CONTEXT, BATCH)
    found = gradients(text[starts[:, None] + np.arange(CONTEXT)], text[starts + CONTEXT])
    length = np.sqrt(sum((g**2).sum() for g in found))
    scale = min(1.0, CLIP / (length + 1e-12))
    for k, gradient in enumerate(found):
        means[k] += (1 - BETA1) * (gradient * scale - means[k])
        squares[k] += (1 - BETA2) * ((gradient * scale) ** 2 - squares[k])
        change = means[k] / (1 - BETA1 ** (step + 1)) / (np.sqrt(squares[k] / (1 - BETA2 ** (step + 1))) + EPSILON)
        weights[k] -= rate_at(step) * (change + DECAY * weights[k])

val_bpb = validate()
print(f"val_bpb: {val_bpb:.6f}")
with os.fdopen(descriptor, "wb") as model:
    described = {"context": CONTEXT, "shapes": [w.shape for w in weights]}
    model.write(json.dumps(described).encode() + b"\n")
    model.writelines(w.astype(np.float32).tobytes() for w in weights)
