"""Proves: assignment, policies from static to bandit, lift, off-policy value, reports.

The experiment itself stands here: its design (``design``, of ``measures`` and ``rules``; its file is ``design_file``),
who is in which arm (``assignment``) and beside which others (``layers``, ``holdout``), how its shares may change
(``ramping``) and what ends it (``stopping``), what came of it (``outcomes``, ``money``), its units as arrays
(``observations``), what is found in it (``results``), and what is kept of each look at it (``record``).

The rooms inside: ``policies`` choose, ``analysis`` compares arms, ``adaptive`` does so where a bandit chose,
``heterogeneity`` says who gains, ``channels`` which channel pays, ``retention`` who stays; ``ladder`` and ``offpolicy``
value policies (both by ``estimation``), ``report`` tells a marketer, and ``market`` is a simulated world whose truth is
known.
"""
