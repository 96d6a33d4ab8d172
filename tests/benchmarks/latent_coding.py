"""Benchmark of latents coded along time against static tables: bytes, and CPU time of each direction.

    OMP_NUM_THREADS=1 python tests/benchmarks/latent_coding.py

Planes `[T, C, h, w]` of the size of T-NeRV's embeddings and grids at 1080p (150 of 600 frames), and of HNeRV's; values
are random walks that return to zero, of about the entropy of trained latents. Prints a row for each tensor.
"""

import time

import numpy as np

from rdbench.codecs.inr.entropy.frame_contexts import code, pack, unpack
from rdbench.codecs.inr.entropy.tensor_models import Values, choose_model, decode_under, encode_under

SHAPES = {"T-NeRV embeddings": (150, 25, 9, 16), "T-NeRV finest grid": (75, 35, 9, 16), "HNeRV": (132, 16, 2, 4)}
RETURN = 0.95
"""Share of a value that the next frame keeps."""


def walking(shape: tuple[int, ...], deviation: float) -> Values:
    """Planes whose changes from frame to frame have this deviation."""
    random = np.random.default_rng(0)
    found = np.zeros(shape)
    found[0] = random.laplace(0, deviation / (1 - RETURN**2) ** 0.5, shape[1:])
    for frame in range(1, shape[0]):
        found[frame] = RETURN * found[frame - 1] + random.laplace(0, deviation, shape[1:])
    return np.rint(found).astype(np.int32)


def main() -> None:
    """Prints the table."""
    print(f"{'latents':20} {'values':>8} {'static':>8} {'along time':>10} {'ratio':>6} {'s encode':>9} {'s decode':>9}")
    for (name, shape), deviation in zip(SHAPES.items(), (0.5, 0.5, 6.0), strict=True):
        values = walking(shape, deviation)
        _, model = choose_model(values.ravel())
        static = encode_under([values.ravel()], [model])
        assert np.array_equal(decode_under(static, [(values.size, model)])[0], values.ravel())
        times = [time.process_time()]
        data = pack([code(values)])
        times.append(time.process_time())
        (found,) = unpack(data, [shape], int(values.min()), int(values.max()))
        times.append(time.process_time())
        assert np.array_equal(found, values)
        ratio, (encode, decode) = len(data) / len(static), np.diff(times)
        row = f"{name:20} {values.size:8} {len(static):8} {len(data):10} {ratio:6.2f} {encode:9.2f} {decode:9.2f}"
        print(row)


if __name__ == "__main__":
    main()
