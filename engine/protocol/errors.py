"""The exception tree of sluice: everything a person can cause or must act on.

A message says where, what was found, what was expected and how to mend it. It refuses to hold programming mistakes: those stay
ordinary Python exceptions and are shown as bugs.
"""

from collections.abc import Sequence


class SluiceError(Exception):
    """Something a person can mend. `exit_status` is the process status; `problems` lists every finding, one line each."""

    exit_status = 4

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems: Sequence[str] = problems


class InputError(SluiceError):
    """Bad usage or bad input: a file, a setting, a folder or an argument is not what it must be."""

    exit_status = 2


class ConfigError(InputError):
    """`sluice.toml` has problems; each one names file, line, key, the value found, what was expected and how to mend it."""


class RunFolderError(InputError):
    """A run was named that does not exist, is ambiguous, or is not a run folder."""


class RunBusyError(InputError):
    """Another supervisor owns the run, or the run is live and the command needs it to be still."""


class UnknownEventError(InputError):
    """A journal line holds an event this version does not know."""


class GateBlockedError(SluiceError):
    """A hard gate failed or is undecided and was not overridden."""

    exit_status = 1


class EngineError(SluiceError):
    """The engine could not go on (exit status 4)."""


class ModelError(InputError):
    """The model folder cannot be used: no safetensors, remote code, instruction-tuned, a failed sentinel."""


class SentinelError(ModelError):
    """The model was loaded and failed a hard sentinel."""


class DiskFullError(EngineError):
    """A write failed for want of space or quota; nothing half-written was left behind."""


class DisplacedError(EngineError):
    """Another supervisor took over the run; this one must write nothing more."""


class MemoryRanOutError(EngineError):
    """GPU memory ran out; what was done is kept and plan.json knows, so that the next worker takes a plan that needs less."""


class NonFiniteLossError(EngineError):
    """The loss or the gradient norm was not finite; raised before the optimizer step, so the weights are still good."""


class StopRequested(BaseException):
    """No error: a stop was asked for and everything done so far is on the disk. `step` is the training step, where there is one.

    Like KeyboardInterrupt it passes through `except Exception` of libraries.
    """

    def __init__(self, step: int | None = None) -> None:
        super().__init__(step)
        self.step = step
