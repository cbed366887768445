"""Lines that can't be read as rows: the values that stand in them all the same."""

from __future__ import annotations

import re

_BETWEEN = re.compile(r"[,;|\t\"{}\[\]]+|(?<=\w)\"?:\s|\s*\n\s*")


def tokens(line: str) -> list[str]:
    """What stands between the delimiters, quotation marks and brackets of a line, as CSV or JSON would have it.

    >>> tokens('no-1,anna,opt_out,"2024'), tokens('{"who": "anna", "what": "opt')
    (['no-1', 'anna', 'opt_out', '2024'], ['who', 'anna', 'what', 'opt'])
    """
    return [text for each in _BETWEEN.split(line) if (text := each.strip(" '\r\ufeff:"))]
