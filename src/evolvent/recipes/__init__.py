"""Recipes: published ways of self-improvement in at most a hundred lines each, every one beside its control arm.

A recipe composes what the other rooms hold; `base.py` says what it owes, `running.py` runs it, `observed.py` says what
was seen. What is missing for one belongs into the right room, not here.

Not here: proof. A recipe compares arms over a few seeds; the judge promotes nothing on it.
"""
