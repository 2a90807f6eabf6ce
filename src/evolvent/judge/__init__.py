"""The judge: may this candidate replace the champion? One bit out per question.

`client` is what the loop holds; it starts `server`, a process of its own with a secret of its own. There, `bench` draws
items and runs models in a sandboxed worker, `gate` reads the outcomes, `stats` is the arithmetic, `questions` what can
be asked. The judge's process never imports a tensor library and never holds a candidate.

Not here: the ledger and the error budget's state (folds over events), and what happens after a verdict (the loop).
"""

from evolvent.judge.client import JudgeClient
from evolvent.judge.gate import Gate, PairedGate, slot_levels
from evolvent.judge.questions import Protected, Question, SealedQuestion, StandingQuestion

__all__ = [
    "Gate",
    "JudgeClient",
    "PairedGate",
    "Protected",
    "Question",
    "SealedQuestion",
    "StandingQuestion",
    "slot_levels",
]
