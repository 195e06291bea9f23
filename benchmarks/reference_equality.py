"""Whether a written model computes in LiteRT's reference kernels what edgevit says, bit for bit, on many images.

    python benchmarks/reference_equality.py [--model timm:deit_tiny_patch16_224] [--images 100]

The test suite does the same for the embedded model and DeiT-Tiny; this takes any model, and says how long it took.
Compared are LiteRT (BUILTIN_REF), edgevit's kernels on the file, and the interpreter on the lowered graph. Exits with 1
where an image differs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO))

BATCH = 4


def main() -> int:
    """Compile, then compare batch by batch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="timm:deit_tiny_patch16_224", help="as for `edgevit export`")
    parser.add_argument("--images", type=int, default=100, help="evaluation images of the package")
    options = parser.parse_args()

    import numpy as np

    from edgevit.data import open_images
    from edgevit.data.opening import EMBEDDED
    from edgevit.export.options import ExportOptions
    from tests.conformance.compiled import export

    with tempfile.TemporaryDirectory(prefix="edgevit-equality-") as folder:
        exported = export(ExportOptions(model=options.model, calibration=EMBEDDED, dry_run=True), Path(folder))
        size = exported.compiled.model.preprocess.size
        images = open_images(EMBEDDED, size=size, purpose="evaluation", limit=options.images)
        different, done, classes, start = 0, 0, set(), time.perf_counter()
        for batch in images.batches(BATCH):
            reference = exported.by_litert(batch.images)
            ours = exported.by_kernels(batch.images), exported.by_interpreter(batch.images)
            same = np.logical_and(*((each == reference).all(axis=1) for each in ours))
            different += int((~same).sum())
            done += len(same)
            classes |= set(reference.argmax(axis=1).tolist())
            print(f"\r{done} of {len(images)} images, {different} differ", end="", flush=True, file=sys.stderr)
        seconds = time.perf_counter() - start
    print(file=sys.stderr)
    print(
        f"{options.model}: {done - different} of {done} images equal bit for bit, "
        f"{len(classes)} predicted classes, {seconds:.0f} s"
    )
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
