"""The proof that transfer helped, or that it did not: what is measured, what it means, and how sure that is.

protocol.py      decided by the size of the data, said before the work
proof.py         opens the test rows, once
measure.py       metrics, paired gains and conformal sets on the test rows
resampling.py    learning again from parts of the rows
relearning.py    cross-validation with every choice inside; learning curves
learning.py      what labels are worth
verdict.py       the gains in words
"""

from __future__ import annotations

from headstart.prove.proof import Given, prove
from headstart.prove.protocol import Plan, announce, plan

__all__ = ["Given", "Plan", "announce", "plan", "prove"]
