"""A witness tells when a ledger was put back, cut, forked, rewritten or signed anew, and a run stops where none can."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from evolvent.audit import Findings, audit
from evolvent.audit.heads import check_heads
from evolvent.errors import LedgerCorrupt, StoreError
from evolvent.ledger import Ledger
from evolvent.store import Store
from evolvent.types import canonical_json, sha256_hex
from evolvent.witness import HEAD_KIND, HEADS, Head, HeadLog, Notary, SignedHead, event_leaf
from evolvent.witness.merkle import Tree
from evolvent.witness.signing import Signer

FIXED = example_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)


class Desk:
    """A run's folder with a ledger, a key and one witness."""

    def __init__(self, folder: Path, witness: Path, salt: str = "") -> None:
        self.folder, self.witness, self.salt = folder, witness, salt
        folder.mkdir(parents=True, exist_ok=True)

    def ledger(self) -> Ledger:
        ledger = Ledger.open(self.folder / "ledger.sqlite", "run", create=True, clock=lambda: 7)
        ledger.acquire()
        return ledger

    def work(self, first: int, last: int, publish: bool = True) -> list[str]:
        """Append events ``first .. last``, and publish."""
        with self.ledger() as ledger:
            for i in range(first, last + 1):
                ledger.append("thing", {"i": i, "salt": self.salt}, key=f"k{i}")
            return self.notary(ledger).publish(must=True) if publish else []

    def notary(self, ledger: Ledger, *others: Path) -> Notary:
        own = self.folder / "signing"
        return Notary(ledger, Signer.own(own / "key.pem"), own, [self.witness, *others])

    def findings(self, witness: bool = True) -> Findings:
        with Ledger.open(self.folder / "ledger.sqlite") as ledger:
            store, places = Store(self.folder / "store"), [self.witness] if witness else []
            return audit(ledger, store, self.folder / "judge", self.folder / "signing", places)

    def heads(self) -> list[SignedHead]:
        return [signed for line in HeadLog(self.witness).lines() if (signed := SignedHead.parse(line))]


@pytest.fixture(scope="session")
def nine_events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of nine events, with heads after three and nine, and its witness."""
    root = tmp_path_factory.mktemp("nine")
    (root / "elsewhere").mkdir()
    made = Desk(root / "run", root / "elsewhere")
    made.work(1, 3)
    made.work(4, 9)
    shutil.rmtree(root / "run" / "signing" / "witnesses")  # they name the place by its path
    return root


@pytest.fixture
def desk(nine_events: Path, tmp_path: Path) -> Desk:
    shutil.copytree(nine_events, tmp_path, dirs_exist_ok=True)
    made = Desk(tmp_path / "run", tmp_path / "elsewhere")
    made.work(9, 9)  # nothing new, but the place is known now
    return made


def copy_of(desk: Desk, folder: Path, salt: str = "") -> Desk:
    shutil.copytree(desk.folder, folder)
    return Desk(folder, desk.witness, salt)


def rewritten(desk: Desk, folder: Path, events: int = 9, *, key: bool = True) -> Desk:
    """Another history of as many events under the same run id: every hash in it holds."""
    other = Desk(folder, desk.witness, salt="forged")
    if key:
        (folder / "signing").mkdir()
        shutil.copy(desk.folder / "signing" / "key.pem", folder / "signing" / "key.pem")
    other.work(1, events, publish=False)
    return other


def test_a_ledger_that_only_grew_is_well(desk: Desk) -> None:
    desk.work(10, 10)
    desk.work(10, 10)  # nothing new: no line
    found = desk.findings()
    assert (found.wrong, found.notes, found.counts["signed heads"]) == ([], [], 6)
    assert [signed.head.size for signed in desk.heads()] == [3, 9, 10]
    assert (desk.witness / HEADS).read_text() == (desk.folder / "signing" / HEADS).read_text()


def test_the_same_ledger_and_key_give_the_same_lines(desk: Desk, tmp_path: Path) -> None:
    again, elsewhere = copy_of(desk, tmp_path / "again"), tmp_path / "other"
    elsewhere.mkdir()
    with again.ledger() as ledger:
        again.notary(ledger, elsewhere).publish()
    (line,) = HeadLog(elsewhere).lines()  # told once, of everything
    last = desk.heads()[-1]
    told = SignedHead.parse(line)
    assert told is not None
    assert (told.head, told.signature, told.after) == (last.head, last.signature, 0)


def test_what_is_newer_than_the_last_head_is_said(desk: Desk) -> None:
    desk.work(10, 12, publish=False)
    assert desk.findings().wrong == []
    assert desk.findings().notes == ["the last 3 of 12 events are newer than the last signed head"]


# -- the attacks -------------------------------------------------------------------------------------------------------


def test_an_older_copy_of_the_file_shows(desk: Desk, tmp_path: Path) -> None:
    older = copy_of(desk, tmp_path / "older")
    desk.work(10, 12)
    assert older.findings(witness=False).wrong == []  # by itself it is a sound record
    assert any("was told of 12 events, the ledger has 9" in line for line in older.findings().wrong)
    with pytest.raises(LedgerCorrupt, match="an older copy was put back"):
        older.work(10, 10)


def test_an_older_copy_that_went_on_by_itself_shows(desk: Desk, tmp_path: Path) -> None:
    older = copy_of(desk, tmp_path / "older", salt="other")
    desk.work(10, 12)
    older.work(10, 15, publish=False)
    assert any("signed another history of 12 events" in line for line in older.findings().wrong)
    with pytest.raises(LedgerCorrupt, match="the ledger was rewritten since"):
        older.work(16, 16)


def test_a_cut_tail_with_a_mended_head_shows(desk: Desk) -> None:
    with sqlite3.connect(desk.folder / "ledger.sqlite") as db:
        db.execute("DELETE FROM events WHERE seq > 7")
        db.execute("UPDATE head SET seq = 7, chain_hash = (SELECT chain_hash FROM events WHERE seq = 7)")
    db.close()
    assert any("events were cut off" in line for line in desk.findings().wrong)


def test_all_hashes_rewritten_show(desk: Desk, tmp_path: Path) -> None:
    other = rewritten(desk, tmp_path / "forged")
    assert any("the ledger was rewritten since" in line for line in other.findings().wrong)
    with pytest.raises(LedgerCorrupt, match="is not of this history"):
        other.work(10, 10)


def test_a_fork_shows_whichever_side_is_looked_at(desk: Desk, tmp_path: Path) -> None:
    """Two controllers with the same key, which a witness was told of: two heads of one size."""
    other = rewritten(desk, tmp_path / "forged")
    away = tmp_path / "away"
    away.mkdir()
    with other.ledger() as ledger:
        Notary(ledger, Signer.read(other.folder / "signing" / "key.pem"), away, []).publish()
    with (desk.witness / HEADS).open("a") as file:
        file.write((away / HEADS).read_text())
    for side in (desk, other):
        assert any("fork: another history of 9 events" in line for line in side.findings().wrong)


def test_another_key_shows(desk: Desk, tmp_path: Path) -> None:
    other = rewritten(desk, tmp_path / "forged", key=False)
    with pytest.raises(LedgerCorrupt, match="signed by or for another key"):
        other.work(10, 10)
    with (desk.witness / HEADS).open("a") as file:
        file.write((other.folder / "signing" / HEADS).read_text())
    wrong = other.findings().wrong
    assert any("is signed by another key: the signing key was exchanged" in line for line in wrong)


def forged(desk: Desk, change: Callable[[dict[str, object]], None]) -> list[str]:
    lines = HeadLog(desk.witness).lines()
    row = json.loads(lines[-1])
    change(row)
    (desk.witness / HEADS).write_text("\n".join([*lines[:-1], json.dumps(row)]) + "\n")
    return desk.findings().wrong


@pytest.mark.parametrize(
    ("part", "name", "value", "said"),
    [
        ("head", "root", "0" * 64, "the signature does not hold"),
        ("head", "size", 8, "the signature does not hold"),
        ("head", "time_ns", 8, "the signature does not hold"),
        ("head", "run", "other", "is of run other"),
        ("proof", "path", [], "does not continue the line before"),
        ("proof", "after", 2, "does not continue the line before"),
    ],
)
def test_a_forged_line_shows(desk: Desk, part: str, name: str, value: object, said: str) -> None:
    wrong = forged(desk, lambda row: row[part].__setitem__(name, value))  # type: ignore[attr-defined]
    assert any(said in line for line in wrong), wrong


@pytest.mark.parametrize("end", ["\r", "\x0b", "\x0c", "\x1c", "\x1e", " ", "\t"])
def test_no_other_sign_ends_a_line(desk: Desk, end: str) -> None:
    lines = HeadLog(desk.witness).lines()
    (desk.witness / HEADS).write_bytes((end.join(lines[:2]) + "\n" + "\n".join(lines[2:]) + "\n").encode())
    found = desk.findings()
    assert found.wrong or found.notes


@pytest.mark.parametrize("name", ["sig", "key"])
def test_a_signature_has_one_spelling(desk: Desk, name: str) -> None:
    """The last sign of base64 has bits that say nothing; other ones there would be a change that nobody sees."""
    signs = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

    def respell(row: dict[str, object]) -> None:
        text = str(row[name])
        bare = text.rstrip("=")
        row[name] = bare[:-1] + signs[signs.index(bare[-1]) + 1] + text[len(bare) :]

    assert forged(desk, respell)


@FIXED
@given(seed=st.integers(0, 2**32))
@example(seed=5460)
def test_any_changed_byte_of_a_witness_shows_or_is_said(desk: Desk, seed: int) -> None:
    rng, path = random.Random(seed), desk.witness / HEADS
    good = path.read_bytes()
    try:
        at = rng.randrange(len(good))
        path.write_bytes(good[:at] + bytes([(good[at] + rng.randrange(1, 256)) % 256]) + good[at + 1 :])
        found = desk.findings()
        assert found.wrong or found.notes
    finally:
        path.write_bytes(good)


def signed_lines(place: Path, chain: list[str], sizes: list[int], signer: Signer) -> None:
    """A witness as a notary leaves one after a head at each of `sizes`, without the ledger."""
    tree, before = Tree(), 0
    for size in sizes:
        added = [event_leaf(name) for name in chain[before:size]]
        path = [found.hex() for found in tree.consistency(added)]
        for leaf in added:
            tree.add(leaf)
        head = Head(run="run", size=size, root=tree.root().hex(), chain=chain[size - 1], time_ns=0)
        signature = signer.sign(HEAD_KIND, canonical_json(head.plain()).encode())
        line = SignedHead(head=head, key=signer.public.text, signature=signature, after=before, proof=tuple(path))
        HeadLog(place).append(line)
        before = size


def test_of_a_thousand_histories_each_that_was_tampered_with_shows(tmp_path: Path) -> None:
    """Cut, changed, swapped, dropped, doubled or written anew: with chains that hold, only the witness can tell."""
    rng, signer = random.Random(0), Signer.own(tmp_path / "key.pem")
    missed, clean = 0, 0
    for number in range(50):
        place = tmp_path / str(number)
        place.mkdir()
        size = rng.randint(2, 80)
        chain = [sha256_hex(f"{number} {i}") for i in range(size)]
        heads = sorted({*rng.choices(range(1, size + 1), k=4), size})
        signed_lines(place, chain, heads, signer)
        clean += bool(wrong_of(chain, place))
        for _ in range(20):
            missed += not wrong_of(tampered(chain, rng), place)
    assert (clean, missed) == (0, 0)


def tampered(chain: list[str], rng: random.Random) -> list[str]:
    """Another history. From the first change on all hashes are new, as after a rewrite that holds."""
    at, fresh = rng.randrange(len(chain)), [sha256_hex(str(rng.random())) for _ in chain]
    return rng.choice([
        chain[:at], chain[:at] + fresh[at:], chain[:at] + fresh[at + 1 :], [*chain[:at], *fresh[at:], fresh[0]], fresh,
    ])  # fmt: skip


def wrong_of(chain: list[str], place: Path) -> list[str]:
    findings = Findings()
    check_heads(findings, "run", chain, place / "none", [place])
    return findings.wrong


# -- places that cannot be reached -------------------------------------------------------------------------------------


def test_a_missing_place_is_said_and_caught_up(desk: Desk, tmp_path: Path) -> None:
    second = tmp_path / "second"
    with desk.ledger() as ledger:
        ledger.append("thing", {}, key="a")
        (said,) = desk.notary(ledger, second).publish(must=True)  # one of two is enough
        assert "no such folder" in said
        second.mkdir()
        ledger.append("thing", {}, key="b")
        assert desk.notary(ledger, second).publish() == []
    assert [SignedHead.parse(line).head.size for line in HeadLog(second).lines()] == [11]  # type: ignore[union-attr]
    assert desk.findings().wrong == []


def test_without_any_witness_nothing_is_promoted(desk: Desk) -> None:
    shutil.move(desk.witness, desk.witness.with_name("away"))
    with desk.ledger() as ledger:
        ledger.append("thing", {}, key="a")
        assert len(desk.notary(ledger).publish()) == 1
        with pytest.raises(StoreError, match="nothing is promoted that no witness has seen"):
            desk.notary(ledger).publish(must=True)


def test_an_empty_folder_where_heads_were_is_no_witness(desk: Desk) -> None:
    """As when a disk is not mounted: its mount point is there, and empty."""
    shutil.move(desk.witness, desk.witness.with_name("away"))
    desk.witness.mkdir()
    with pytest.raises(StoreError, match="is empty, but held heads of this run before"):
        desk.work(10, 10)
    assert list(desk.witness.iterdir()) == []


def test_a_line_cut_off_by_a_crash_is_passed_over(desk: Desk) -> None:
    path = desk.witness / HEADS
    path.write_bytes(path.read_bytes() + path.read_bytes()[:80])
    desk.work(10, 12)
    found = desk.findings()
    assert found.wrong == []
    assert found.notes == [f"{path}: 1 of 4 lines cannot be read, as after a power loss"]


def test_a_crash_between_log_and_snapshot_costs_time_only(desk: Desk) -> None:
    with sqlite3.connect(desk.folder / "ledger.sqlite") as db:
        db.execute("DELETE FROM snapshots")
    db.close()
    desk.work(10, 12)
    assert desk.findings().wrong == []


def test_a_head_costs_its_own_events_only(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the run is: what is read begins where the last head ended."""
    starts: list[int] = []
    events = Ledger.events

    def watched(self: Ledger, after: int = 0, kinds: None = None) -> object:
        starts.append(after)
        return events(self, after, kinds)

    monkeypatch.setattr(Ledger, "events", watched)
    desk.work(10, 12)
    assert min(starts) == 9
