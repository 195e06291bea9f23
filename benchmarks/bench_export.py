"""Time, peak memory and file size of exports for the Coral Edge TPU, each in a process of its own.

    python benchmarks/bench_export.py [--runs 3] [--models deit_tiny_patch16_224 ...] [--json out/bench_export.json]

Every run is `edgevit export timm:MODEL --calib embedded --calib-limit 32` with random weights: the whole command, from
the start of Python to the finished bundle. Memory is the peak resident set of that process, as the kernel counted it.
Nothing is asserted, because times belong to a machine: the targets stand beside the figures.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parent.parent
CALIBRATION = ("--calib", "embedded", "--calib-limit", "32")
PROGRAM = "import sys; from edgevit.cli import main; main(sys.argv[1:])"
PACKAGES = ("edgevit", "torch", "timm", "numpy", "scipy", "ai-edge-litert")
BYTES_PER_PARAMETER, FIXED_BYTES = 1.1, 150_000


@dataclass(frozen=True)
class Target:
    """Limits of one model on two cores: wall-clock seconds and bytes of memory."""

    seconds: float
    memory: float


TARGETS = {
    "deit_tiny_patch16_224": Target(60, 3e9),
    "deit_small_patch16_224": Target(150, 3e9),
}


@dataclass(frozen=True)
class Run:
    """One export: wall-clock and processor seconds, peak memory in bytes."""

    seconds: float
    cpu_seconds: float
    memory: int


def export(model: str, bundle: Path) -> Run:
    """Export once. The process is waited for by itself, so that its usage is not mixed with that of others."""
    arguments = [sys.executable, "-c", PROGRAM, "export", f"timm:{model}", *CALIBRATION, "-o", str(bundle), "-q"]
    start = time.perf_counter()
    process = os.posix_spawn(
        sys.executable, arguments, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    )
    _, status, usage = os.wait4(process, 0)
    seconds = time.perf_counter() - start
    if status:
        sys.exit(f"the export of {model} failed with exit code {os.waitstatus_to_exitcode(status)}")
    # Linux counts kibibytes, macOS bytes.
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def bench(model: str, runs: int) -> dict[str, Any]:
    """All runs of one model, and what is in its bundle."""
    with tempfile.TemporaryDirectory(prefix="edgevit-bench-") as folder:
        found = [export(model, Path(folder) / f"bundle{number}") for number in range(runs)]
        report = json.loads((Path(folder) / "bundle0" / "report.json").read_text(encoding="utf-8"))
    size, mapping = report["size"], report["mapping"]
    target = TARGETS.get(model)
    return {
        "model": model,
        "runs": [vars(run) for run in found],
        "seconds": statistics.median(run.seconds for run in found),
        "cpu_seconds": statistics.median(run.cpu_seconds for run in found),
        "memory_bytes": max(run.memory for run in found),
        "file_bytes": size["file_bytes"],
        "parameters": size["parameters"],
        "bytes_per_parameter": size["bytes_per_parameter"],
        "file_limit_bytes": int(BYTES_PER_PARAMETER * size["parameters"] + FIXED_BYTES),
        "ops": mapping["total"],
        "mapped": mapping["mapped"],
        "target_seconds": None if target is None else target.seconds,
        "target_memory_bytes": None if target is None else target.memory,
    }


def machine() -> dict[str, Any]:
    """Where the figures were taken; the load average tells whether anything else was running."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.is_file() else []
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": names[0].partition(":")[2].strip() if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load_average": os.getloadavg()[0],
        "threads": os.environ.get("OMP_NUM_THREADS", "default"),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES if installed(name)},
    }


def installed(name: str) -> bool:
    """Whether a distribution of this name is there."""
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def show(where: dict[str, Any], results: list[dict[str, Any]]) -> None:
    """The table, with a limit behind every figure that has one."""
    print(f"{where['processor']}, {where['cores']} cores, load {where['load_average']:.1f} before the first run")
    print(", ".join(f"{name} {version}" for name, version in where["versions"].items()))
    header = ("model", "wall s", "CPU s", "memory MB", "file kB", "B/param", "mapped")
    print("{:26}{:>14}{:>8}{:>16}{:>18}{:>9}{:>10}".format(*header))
    for r in results:
        seconds = f"{r['seconds']:.1f}" + (f" (<{r['target_seconds']:.0f})" if r["target_seconds"] else "")
        memory = f"{r['memory_bytes'] / 1e6:.0f}" + (
            f" (<{r['target_memory_bytes'] / 1e6:.0f})" if r["target_memory_bytes"] else ""
        )
        file = f"{r['file_bytes'] / 1e3:.0f} (<{r['file_limit_bytes'] / 1e3:.0f})"
        mapped = f"{r['mapped']}/{r['ops']}"
        figures = f"{r['bytes_per_parameter']:>9.3f}{mapped:>10}"
        print(f"{r['model']:26}{seconds:>14}{r['cpu_seconds']:>8.1f}{memory:>16}{file:>18}{figures}")


def main() -> None:
    """Measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=3, help="exports of each model; the median time is taken")
    parser.add_argument("--models", nargs="+", default=list(TARGETS), metavar="NAME", help="names of timm")
    parser.add_argument("--json", type=Path, default=REPO / "out" / "bench_export.json", help="where the figures go")
    options = parser.parse_args()
    where = machine()
    results = [bench(model, options.runs) for model in options.models]
    show(where, results)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({"machine": where, "results": results}, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {options.json}")


if __name__ == "__main__":
    main()
