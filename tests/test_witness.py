"""A witness tells when a ledger was put back, cut, forked, rewritten or signed anew."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from evolvent.audit import audit
from evolvent.errors import LedgerCorrupt
from evolvent.ledger import Ledger
from evolvent.signing import Signer
from evolvent.store import Store
from evolvent.witness import HEADS, Notary


class Desk:
    """A run's folder with a ledger, a key and one witness."""

    def __init__(self, folder: Path, witness: Path, salt: str = "") -> None:
        self.folder, self.witness, self.salt = folder, witness, salt
        folder.mkdir(parents=True, exist_ok=True)

    def work(self, first: int, last: int) -> None:
        """Append events ``first .. last``, and publish."""
        with Ledger.open(self.folder / "ledger.sqlite", "run", create=True, clock=lambda: 7) as ledger:
            ledger.acquire()
            for i in range(first, last + 1):
                ledger.append("thing", {"i": i, "salt": self.salt}, key=f"k{i}")
            self.notary(ledger).publish(must=True)

    def notary(self, ledger: Ledger) -> Notary:
        own = self.folder / "signing"
        return Notary(ledger, Signer.own(own / "key.pem"), own, [self.witness])

    def wrong(self) -> list[str]:
        with Ledger.open(self.folder / "ledger.sqlite") as ledger:
            findings = audit(ledger, Store(self.folder / "store"), self.folder / "judge",
                             self.folder / "signing", [self.witness])  # fmt: skip
        return findings.wrong


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    witness = tmp_path / "elsewhere"
    witness.mkdir()
    made = Desk(tmp_path / "run", witness)
    made.work(1, 3)
    return made


def test_a_ledger_that_only_grew_is_well(desk: Desk) -> None:
    desk.work(4, 9)
    desk.work(10, 10)
    assert desk.wrong() == []
    assert (desk.witness / HEADS).read_text() == (desk.folder / "signing" / HEADS).read_text()


def test_an_older_copy_of_the_file_shows(desk: Desk, tmp_path: Path) -> None:
    shutil.copytree(desk.folder, tmp_path / "older")
    desk.work(4, 9)
    back = Desk(tmp_path / "older", desk.witness)
    assert any("an older copy was put back" in line for line in back.wrong())
    with pytest.raises(LedgerCorrupt, match="an older copy was put back"):
        back.work(4, 5)  # it does not get to go on either
