"""`edgevit verify`: whether a bundle is what was exported, and still gives its golden outputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgevit.backend import Backend, load_backend
from edgevit.bundle import Manifest, check_files, read_golden, read_manifest
from edgevit.errors import BundleError, ToolNotFound


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: ``ok`` is None where it could not be, and ``detail`` says why."""

    name: str
    ok: bool | None
    detail: str


@dataclass(frozen=True)
class Verification:
    """The result for one bundle."""

    manifest: Manifest
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return all(check.ok is not False for check in self.checks)


def verify_bundle(folder: Path) -> Verification:
    """Check every hash, and run the golden inputs by edgevit's exact kernels and, where it is installed, by the
    target's run time.

    Raises BundleError for a folder that is no bundle. What does not hold is in the checks.
    """
    manifest = read_manifest(folder)
    wrong = check_files(folder, manifest)
    checks = [Check("files", not wrong, "; ".join(wrong) or f"{len(manifest.files)} files match their hashes")]
    if not wrong:
        backend = load_backend(manifest.target)
        checks += [_golden(folder, backend, device) for device in ("reference", "host")]
    return Verification(manifest, tuple(checks))


def _golden(folder: Path, backend: Backend, device: str) -> Check:
    name = f"golden outputs, {device}"
    inputs, expected = read_golden(folder)
    if len(inputs) == 0 or len(inputs) != len(expected):
        raise BundleError(
            f"{len(inputs)} golden inputs and {len(expected)} outputs",
            where=str(folder),
            hint="export the bundle again",
        )
    try:
        found = backend.run(folder, inputs, device)
    except ToolNotFound as error:
        return Check(name, None, f"{error.what}: {error.hint}")
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return Check(name, False, f"{found.dtype}{list(found.shape)} instead of {expected.dtype}{list(expected.shape)}")
    differing = int((found != expected).reshape(len(found), -1).any(axis=1).sum())
    if differing:
        gap = int(np.abs(found.astype(np.int64) - expected.astype(np.int64)).max())
        return Check(name, False, f"{differing} of {len(found)} differ, by up to {gap}")
    return Check(name, True, f"{len(found)} of {len(found)} equal bit for bit")
