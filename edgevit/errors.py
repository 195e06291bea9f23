"""Every error that edgevit raises on purpose, and the exit code that the command line gives it.

    EdgevitError                 1
    ├── UsageError               2   an option, a path or a configuration that cannot be used as given
    ├── IRError                  1   a graph that breaks an invariant of the IR
    ├── FrontendError            3   a model that cannot be captured or raised to the IR
    ├── PassError                1   a pass that broke its contract
    ├── QuantError               3   ranges, calibration data or a configuration that cannot be quantized
    ├── BackendError             3   a graph that the target cannot take
    │   ├── UnsupportedOp        3
    │   ├── MappingGate          4   compiled, but less of it on the accelerator than was asked for
    │   ├── AccuracyGate         5   compiled, but less accurate than was asked for
    │   └── ToolNotFound         6   an external tool or an optional package that is not installed
    ├── DeviceError              7   a device that did not do what it was told
    │   ├── DeviceTimeout        7
    │   └── CommandFailed        7
    └── BundleError              2   a bundle that is damaged, incomplete or cannot be written

A message reads ``where: what`` and then, on its own line, ``hint:`` with what to do about it.
"""

from __future__ import annotations

from typing import ClassVar


class EdgevitError(Exception):
    """Base of all expected failures.

    ``where`` names the place (a module path, a file, an op), ``what`` the fact, ``hint`` the remedy.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        self.where, self.what, self.hint = where, what, hint
        message = f"{where}: {what}" if where else what
        super().__init__(f"{message}\nhint: {hint}" if hint else message)


class UsageError(EdgevitError):
    """An option, a path or a configuration file that cannot be used as given."""

    exit_code = 2


class IRError(EdgevitError):
    """A graph, or its text form, that breaks an invariant of the IR."""


class FrontendError(EdgevitError):
    """A model that cannot be loaded, captured or raised to the IR."""

    exit_code = 3


class PassError(EdgevitError):
    """A pass that was given the wrong form or left an invalid graph behind."""


class QuantError(EdgevitError):
    """Calibration data, ranges or a configuration that do not allow quantization."""

    exit_code = 3


class BackendError(EdgevitError):
    """A graph that a target cannot take, or an artifact that could not be made."""

    exit_code = 3


class UnsupportedOp(BackendError):
    """One or more ops that the target has no lowering for."""


class MappingGate(BackendError):
    """The export works, but fewer ops reach the accelerator than ``--min-mapped`` asks for."""

    exit_code = 4


class AccuracyGate(BackendError):
    """The export works, but it is less accurate than ``--max-drop`` or ``--min-sqnr`` asks for."""

    exit_code = 5


class ToolNotFound(BackendError):
    """An external program or optional package that is not installed; the hint says how to get it."""

    exit_code = 6


class DeviceError(EdgevitError):
    """A device that could not be reached or did not do what it was told."""

    exit_code = 7


class DeviceTimeout(DeviceError):
    """A device that did not answer in time."""


class CommandFailed(DeviceError):
    """A command on a device that exited with a failure."""


class BundleError(EdgevitError):
    """A bundle that is damaged, incomplete or cannot be written."""

    exit_code = 2
