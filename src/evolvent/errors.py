"""Every error that Evolvent raises on purpose, and the exit code that the command line gives it.

::

    EvolventError                     exit 1
    |- UsageError                     exit 2   bad input of a person: configuration, path, argument
    |  `- ModelRefused                exit 2   a model's files break a rule of the pre-check; nothing was loaded
    |- CheckFailed                    exit 3   `check`, `audit`, `doctor` found something wrong
    |  `- LedgerCorrupt               exit 3   an event was edited, dropped, reordered or forged
    |- BudgetSpent                    exit 4   a limit was reached; names its owner and unit
    |- GateRefused                    exit 5   the judge said no, or could not say yes
    |- PersonAwaited                  exit 1   a person's word is needed; `Run.go` records it and ends
    |- UnsafeError                    exit 6   isolation is missing or input is hostile
    |  `- SandboxError                exit 6   the sandbox broke a rule or could not be set up
    |- LedgerBusy                     exit 2   another controller holds the run
    |- StoreError                     exit 1   an artifact is missing, altered or could not be written
    |- EndpointFailed                 exit 1   a language model behind an address gave no answer (data, not a crash)
    `- JobFailed                      exit 1   a job raised, died or ran out of time (data, not a crash)

Not here: what a candidate does wrong. That is data and ends in an event.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class EvolventError(Exception):
    """Base of every deliberate error. The message says what, where, what was expected, and the remedy."""

    exit_code = 1


class UsageError(EvolventError, ValueError):
    """A person gave something that cannot be used: name, expected, actual, remedy."""

    exit_code = 2


class ModelRefused(UsageError):
    """A model's files break a rule of the pre-check; none of them reached a loader. Of a candidate it is data.

    Attributes:
        kind: short machine-readable rule that was broken, such as ``overlap``, ``not_finite`` or ``bomb``.
    """

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)


class CheckFailed(EvolventError):
    """A check ran and found something wrong."""

    exit_code = 3


class LedgerCorrupt(CheckFailed):
    """The chain of events does not hold: something was edited, dropped, reordered or forged."""


class BudgetSpent(EvolventError):
    """A limit was reached.

    Attributes:
        owner: who set the limit, for example ``run`` or ``build``.
        unit: the unit that ran out, for example ``flops``.
    """

    exit_code = 4

    def __init__(self, owner: str, unit: str, limit: int, wanted: int) -> None:
        self.owner, self.unit, self.limit, self.wanted = owner, unit, limit, wanted
        super().__init__(
            f"budget of '{owner}' is spent: {wanted} {unit} wanted, limit {limit}; "
            f"to go further, start a new folder with a higher budget.{unit}, perhaps with this run's memory"
        )


class GateRefused(EvolventError):
    """The judge said no, or could not say yes."""

    exit_code = 5


class PersonAwaited(EvolventError):
    """The run goes no further without a person's word, and says how to give it. What was done is in the ledger.

    Attributes:
        what: id of the candidate that is held, or ``pick``.
    """

    def __init__(self, what: str, message: str) -> None:
        self.what = what
        super().__init__(message)


class UnsafeError(EvolventError):
    """Isolation is missing, or input is hostile; nothing was run."""

    exit_code = 6


class SandboxError(UnsafeError):
    """The sandbox could not be set up, or something in it broke a rule."""


class LedgerBusy(EvolventError):
    """Another controller holds the run; one run has one writer."""

    exit_code = 2


class StoreError(EvolventError):
    """An artifact is missing, was altered, or could not be written."""


class EndpointFailed(EvolventError):
    """A language model behind an address gave no answer. Whoever asked goes on without one."""


class JobFailed(EvolventError):
    """A job raised, died or ran out of time. The loop records it and goes on.

    Attributes:
        kind: short machine-readable cause, such as ``diverged``, ``died``, ``timeout`` or an exception's name.
        flops: operations spent until then, as far as the job could say; a worker that died could not.
        tokens: model tokens spent until then.
    """

    def __init__(self, kind: str, message: str, *, flops: int = 0, tokens: int = 0) -> None:
        self.kind, self.flops, self.tokens = kind, flops, tokens
        super().__init__(message)

    def plain(self) -> dict[str, str | int]:
        """As the event records it."""
        return {"error": self.kind, "message": str(self)[:500], "flops": self.flops, "tokens": self.tokens}


@contextmanager
def boundary(error: type[EvolventError], doing: str) -> Iterator[None]:
    """Turn anything that escapes an edge (job, sandbox, model call) into one typed error.

    Args:
        error: the type raised instead; a deliberate `EvolventError` passes unchanged.
        doing: what was going on, for the message.
    """
    try:
        yield
    except EvolventError:
        raise
    except Exception as exc:
        raise error(f"{doing}: {type(exc).__name__}: {exc}") from exc
