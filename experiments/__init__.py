"""Proves: assignment, policies from static to bandit, lift, off-policy value, reports.

The experiment itself stands here: its design (``design``), who is in which arm (``assignment``), what came of it
(``outcomes``, ``money``), its units as arrays (``observations``), what is found in it (``results``), and what is kept
of each look at it (``record``).

The rooms inside: ``policies`` choose, ``analysis`` compares arms, ``ladder`` and ``offpolicy`` value policies (both by
``estimation``), ``report`` tells a marketer, and ``market`` is a simulated world whose truth is known.
"""
