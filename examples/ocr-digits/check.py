"""Check a trained model on the held-out images, without what trained it.

Usage: check.py DIR [ACCURACY]

DIR is what `polder model pull` wrote. This program needs Python's standard
library alone: it reads the weights from model.safetensors, computes the network
by hand, and exits with 1 when it is right less often than ACCURACY (0.96).
"""

import csv
import json
import pathlib
import struct
import sys
from operator import mul


def weights(path):
    """The tensors of a safetensors file, flat, by name."""
    data = path.read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + size])
    body = memoryview(data)[8 + size:]
    out = {}
    for name, about in header.items():
        begin, end = about["data_offsets"]
        out[name] = struct.unpack(f"<{(end - begin) // 4}f", body[begin:end])
    return out


def dot(a, b):
    return sum(map(mul, a, b))


def convolve(planes, side, kernels, bias):
    """3x3 convolution with a border of zeros, then ReLU."""
    wide = side + 2
    padded = []
    for p in planes:
        q = [0.0] * (wide * wide)
        for y in range(side):
            q[(y + 1) * wide + 1:(y + 1) * wide + 1 + side] = p[y * side:(y + 1) * side]
        padded.append(q)
    patches = []
    for y in range(side):
        for x in range(side):
            patch = []
            for q in padded:
                for dy in range(3):
                    at = (y + dy) * wide + x
                    patch += q[at:at + 3]
            patches.append(patch)
    length = 9 * len(planes)
    return [[max(0.0, dot(kernels[k * length:(k + 1) * length], patch) + b) for patch in patches] for k, b in enumerate(bias)]


def pool(planes, side):
    """The largest of each 2x2."""
    half = side // 2
    return [[max(p[2 * y * side + 2 * x], p[2 * y * side + 2 * x + 1], p[(2 * y + 1) * side + 2 * x], p[(2 * y + 1) * side + 2 * x + 1])
             for y in range(half) for x in range(half)] for p in planes]


def linear(x, w, bias):
    return [dot(w[i * len(x):(i + 1) * len(x)], x) + b for i, b in enumerate(bias)]


def read(w, pixels):
    """The digit that the network sees."""
    x = convolve([[p / 16 for p in pixels]], 8, w["conv1.weight"], w["conv1.bias"])
    x = convolve(pool(x, 8), 4, w["conv2.weight"], w["conv2.bias"])
    x = [max(0.0, v) for v in linear([v for p in x for v in p], w["fc1.weight"], w["fc1.bias"])]
    scores = linear(x, w["fc2.weight"], w["fc2.bias"])
    return scores.index(max(scores))


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    where = pathlib.Path(sys.argv[1])
    least = float(sys.argv[2]) if len(sys.argv) == 3 else 0.96
    w = weights(where / "model.safetensors")
    right = total = 0
    with (where / "heldout.csv").open() as f:
        for row in csv.reader(f):
            digit, *pixels = map(int, row)
            right += read(w, pixels) == digit
            total += 1
    if total < 100:
        sys.exit(f"only {total} held-out images in {where}")
    accuracy = right / total
    print(f"{right} of {total} held-out images are read right: accuracy {accuracy:.4f}")
    if accuracy < least:
        sys.exit(f"accuracy {accuracy:.4f} is below {least}")


if __name__ == "__main__":
    main()
