"""Make ``calibration.npz`` and ``evaluation.npz`` of the embedded model from the CIFAR-10 containers.

    python -m examples.make_embedded_data --data ../shared/data --out edgevit/embedded

The JPEG files are copied as they are. The same input gives the same bytes: a test compares them with the files in the
package.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevit.data import shuffled, write_jpegs
from edgevit.data.arrays import read_arrays

SEED = 0
SETS = {"calibration": ("cifar10-train.npz", 256), "evaluation": ("cifar10-test.npz", 1000)}


def balanced(labels: NDArray[np.integer[Any]], count: int, seed: int) -> list[int]:
    """Indices of ``count`` pictures, chosen by ``seed``, whose classes differ in number by at most one.

    In shuffled order, so that each prefix is a fair sample too. Raises ValueError where a class has too few pictures.
    """
    classes = int(labels.max()) + 1
    quota = [count // classes + (label < count % classes) for label in range(classes)]
    chosen = []
    for index in shuffled(len(labels), seed):
        if quota[labels[index]]:
            quota[labels[index]] -= 1
            chosen.append(index)
    if any(quota):
        raise ValueError(f"{sum(quota)} of {count} pictures are missing for a balanced choice")
    return chosen


def make(source: Path, target: Path, count: int) -> None:
    """Write ``count`` pictures of the container ``source``, balanced over its classes, to ``target``."""
    arrays = read_arrays(source, ("jpeg", "offsets", "labels", "classes"))
    jpeg, offsets, labels = arrays["jpeg"], arrays["offsets"], arrays["labels"]
    chosen = balanced(labels, count, SEED)
    files = [jpeg[offsets[index] : offsets[index + 1]].tobytes() for index in chosen]
    write_jpegs(target, files, [int(labels[index]) for index in chosen], [str(name) for name in arrays["classes"]])


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="folder of cifar10-train.npz and cifar10-test.npz"
    )
    parser.add_argument("--out", type=Path, default=Path("edgevit/embedded"), help="folder to write to")
    options = parser.parse_args(arguments)
    for name, (source, count) in SETS.items():
        target = options.out / f"{name}.npz"
        make(options.data / source, target, count)
        print(f"{target}: {count} pictures, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
