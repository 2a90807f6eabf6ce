"""The judge's own folder: its secret, the questions taken, the evidence, and the answers given.

A place (a slot, a standing check, a champion's sealed problems) takes one question, ever, and is taken durably before
its first item is drawn: so nobody asks twice at one price, whatever the asker's ledger says. Evidence lies under its
hash, an answer under its question, each written before it is told. The folder has mode 0700, and the rollout worker
must prove that it cannot read it.

Not here: who may ask for evidence, and when (the loop opens it after the verdict).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from evolvent.errors import GateRefused, SandboxError, StoreError, UsageError
from evolvent.store import write_atomic, write_once
from evolvent.types import canonical_json, sha256_hex

__all__ = ["JudgeFolder"]

_SECRET_BYTES = 32
Json = dict[str, Any]


class JudgeFolder:
    """The judge's own folder: secret and evidence.

    Args:
        root: folder; made with mode 0700.
        secret: injected by tests; otherwise read from the folder, or drawn once and kept there.

    Raises:
        SandboxError: the secret's file can be read by others, or is not whole.
    """

    def __init__(self, root: Path, secret: bytes | None = None) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        root.chmod(0o700)
        for name in ("evidence", "answers", "places"):
            (root / name).mkdir(exist_ok=True)
        self.secret = secret or self._own_secret()
        self.commitment = sha256_hex(self.secret)

    def take(self, place: str, question_key: str) -> None:
        """Take a place for a question, or find that the question has it.

        Raises:
            GateRefused: another question has it.
        """
        path = self.root / "places" / place
        if not path.exists():
            write_once(path, question_key.encode())
        if path.read_text(encoding="ascii") != question_key:
            raise GateRefused(
                f"judge: {place} was opened for another question; each question takes a place of its own, "
                f"and a run whose ledger was changed or restored is not judged any further"
            )

    def save(self, question_key: str, evidence: Json, answer: Json) -> Json:
        """Keep the evidence under its hash, then the answer under its question; returns the answer with the hash."""
        text = canonical_json(evidence)
        answer = {**answer, "evidence": sha256_hex(text)}
        write_atomic(self.root / "evidence" / f"{answer['evidence']}.json", text.encode())
        if question_key:
            write_atomic(self.root / "answers" / f"{question_key}.json", canonical_json(answer).encode())
        return answer

    def answer(self, question_key: str) -> Json | None:
        """The stored answer to a question, if there is one whose evidence is intact.

        Raises:
            StoreError: its evidence is gone or was altered.
        """
        path = self.root / "answers" / f"{question_key}.json"
        if not path.is_file():
            return None
        answer = json.loads(path.read_bytes())
        self.evidence(answer["evidence"])
        return answer

    def evidence(self, name: str) -> Json:
        """Evidence by hash.

        Raises:
            UsageError: not a hash.
            StoreError: it is gone or was altered.
        """
        if len(name) != 64 or not set(name) <= set("0123456789abcdef"):
            raise UsageError(f"evidence: expected a SHA-256 in hex, got {name[:80]!r}")
        path = self.root / "evidence" / f"{name}.json"
        data = path.read_bytes() if path.is_file() else b""
        if sha256_hex(data) != name:
            raise StoreError(f"evidence {name[:12]} is missing or was altered; restore the judge's folder {self.root}")
        return json.loads(data)

    def _own_secret(self) -> bytes:
        path = self.root / "secret"
        if not path.exists():
            write_once(path, os.urandom(_SECRET_BYTES))
        if path.stat().st_mode & 0o077:
            raise SandboxError(f"{path} can be read by others; chmod 600 it, and start a new run if it was seen")
        secret = path.read_bytes()
        if len(secret) != _SECRET_BYTES:
            raise SandboxError(f"{path}: expected {_SECRET_BYTES} bytes, got {len(secret)}; start a new run")
        return secret
