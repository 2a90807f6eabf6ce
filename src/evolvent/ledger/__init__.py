"""The ledger: what happened, in order, so that no change to it goes unseen.

`ledger.py` appends and reads, `chain.py` hashes, `sqlite.py` opens the file so that what was acknowledged stays.

Not here: artifacts (`store.py`), what events mean (`state.py`), a history that was rewritten as a whole (`witness/`).
"""

from evolvent.ledger.chain import GENESIS
from evolvent.ledger.ledger import Ledger

__all__ = ["GENESIS", "Ledger"]
