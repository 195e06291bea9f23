"""What a person sees while an export runs: stage lines with times, and a progress bar on long stages. All of it goes to
stderr.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

WIDTH = 26


class TerminalMonitor:
    """Stage lines on a terminal or in a log; silent with ``quiet``. ``seconds`` keeps the time of each stage."""

    def __init__(self, *, quiet: bool) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Callable[[int, int], None]]:
        """One stage: a bar while it runs (on a terminal), one line with its time when it has ended."""
        start = time.perf_counter()
        bar = Progress(
            SpinnerColumn(),
            TextColumn(f"{name:{WIDTH}}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        with bar:
            task = bar.add_task(name, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        self.seconds[name] = time.perf_counter() - start
        self.console.print(f"  [green]✓[/green] {name:{WIDTH}} {self.seconds[name]:6.1f} s")

    def note(self, text: str) -> None:
        """A warning under the current stage."""
        self.console.print(f"    [yellow]note:[/yellow] {_plain(text)}", soft_wrap=True)


def _plain(text: str) -> str:
    """Text that is shown as it is: names of layers and files are not markup."""
    return text.replace("[", "\\[")
