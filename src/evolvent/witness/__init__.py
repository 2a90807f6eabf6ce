"""Signed heads of the ledger, kept where the run cannot reach: a history that was rewritten as a whole is found out.

`heads.py` makes and keeps heads, `merkle.py` proves that one history goes on from another, `signing.py` has the keys.

Not here: reading a witness with suspicion (`audit/heads.py`); what else is signed (`provenance/`).
"""

from evolvent.witness.heads import HEAD_KIND, HEADS, Head, HeadLog, Notary, SignedHead, event_leaf

__all__ = ["HEADS", "HEAD_KIND", "Head", "HeadLog", "Notary", "SignedHead", "event_leaf"]
