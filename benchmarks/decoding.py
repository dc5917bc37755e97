"""Time of decoding 1,000 identities of the open face model at level 2, one thread, against numpy.

    PYTHONPATH=src python benchmarks/decoding.py [--out benchmarks/results/decoding.json]

`decode` in batches of 50 and all at once, and the same sum written plainly in numpy (mean, one product an array of
coefficients, sum), in seconds of the processor's time, which other work on the machine leaves nearly alone; the least
of `--repeats` runs taking turns. Both are matrix products: the ratio is that of torch's library to numpy's. Takes about
half a minute and 2 GB of memory.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rendering import provenance

from facerecon.artefacts import atomic_file
from facerecon.morphable.storage import load_face_model

IDENTITIES, BATCH = 1000, 50


@torch.no_grad()
def measure(repeats: int) -> dict[str, float]:
    """Seconds of each way, and how far the results are from one another, mm."""
    model = load_face_model(level=2)
    generator = torch.Generator().manual_seed(0)
    identity = torch.randn(IDENTITIES, model.dimensions["identity"], generator=generator)
    expression = torch.randn(IDENTITIES, model.dimensions["expression"], generator=generator)
    mean, bases = (
        model.mean.numpy(),
        (model.identity_basis.flatten(1).numpy(), model.expression_basis.flatten(1).numpy()),
    )

    def in_batches() -> None:
        for k in range(0, IDENTITIES, BATCH):
            model.decode(identity[k : k + BATCH], expression[k : k + BATCH])

    def in_numpy() -> None:
        for k in range(0, IDENTITIES, BATCH):
            plain(k)

    def plain(k: int) -> np.ndarray:
        offsets = identity[k : k + BATCH].numpy() @ bases[0] + expression[k : k + BATCH].numpy() @ bases[1]
        return mean + offsets.reshape(-1, *mean.shape)

    ways: dict[str, Callable[[], object]] = {
        "batches_of_50": in_batches,
        "one_batch": lambda: model.decode(identity, expression),
        "numpy_batches_of_50": in_numpy,
    }
    least = dict.fromkeys(ways, np.inf)
    for _ in range(repeats):
        for name, run in ways.items():
            start = time.process_time()
            run()
            least[name] = min(least[name], time.process_time() - start)
    difference = np.abs(model.decode(identity[:BATCH], expression[:BATCH]).numpy() - plain(0)).max()
    return {
        **{f"{name}_seconds": round(seconds, 3) for name, seconds in least.items()},
        "times_as_fast_as_numpy": round(least["numpy_batches_of_50"] / least["batches_of_50"], 2),
        "largest_difference_mm": float(difference),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "decoding.json")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result = {**provenance(1), "identities": IDENTITIES, "level": 2, **measure(arguments.repeats)}
    for name, value in result.items():
        print(f"{name}: {value}")
    with atomic_file(arguments.out) as path:
        path.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
