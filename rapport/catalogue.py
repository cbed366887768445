"""A catalogue from the facts about offers, as another system exports them, instead of offers typed by hand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any, Literal

from features.channels import bundle, channels_of
from features.errors import InputError, unknown

Attributes = Mapping[str, str | None]


@dataclass(frozen=True, kw_only=True)
class OfferFacts:
    """``[catalogue]`` of ``rapport.toml``: which attributes of items say what an offer is.

    An item is an offer when it has the attribute ``channels``.

    Parameters
    ----------
    channels: the attribute that lists the offer's channels.
    together: an offer goes out over all its channels at once: it has one treatment, whose channel is their bundle
        (``features.channels.bundle``). Without it, a treatment per channel.
    title: a text with attributes in braces, such as ``"{item}: {reward} off"`` (7.0 is written 7); the item's id
        without it.
    category, value, discount: attributes with the category, the worth of one response and what is given away with it.
    valid_from, valid_until: attributes with the moments between which the offer holds, such as 2026-03-01T00:00:00Z;
        empty: without that bound.
    unit: of value and discount; ``currency`` is 12.30, ``cents`` 1230.
    cost_cents: cost of one contact by channel, 0 where not given; a bundle costs the sum of its channels.

    >>> facts = OfferFacts(channels="channels", title="{item}: {reward} off", together=True, cost_cents={"email": 1})
    >>> offer = facts.offer("o1", {"channels": "web, email", "reward": "5"})
    >>> offer["title"], offer["treatments"]
    ('o1: 5 off', [{'channel': 'email-web', 'cost_cents': 1}])
    """

    channels: str
    together: bool = False
    title: str = ""
    category: str = ""
    value: str = ""
    discount: str = ""
    valid_from: str = ""
    valid_until: str = ""
    unit: Literal["currency", "cents"] = "currency"
    cost_cents: Mapping[str, int] = field(default_factory=dict)

    @property
    def rules(self) -> tuple[str, ...]:
        """The attributes by which offers are valued and held: they say what is sent, and are no features of it."""
        named = (self.value, self.discount, self.valid_from, self.valid_until)
        return tuple(each for each in named if each)

    def offer(self, item: str, attributes: Attributes) -> dict[str, Any]:
        """The offer of one item, in the form of an entry of ``offers.toml``."""
        listed = channels_of(attributes.get(self.channels))
        words = {"item": item, **attributes}
        found: dict[str, Any] = {
            "offer_id": item,
            "title": re.sub(r"\{(\w+)\}", lambda name: _text(name[1], words, item=item), self.title) or item,
            "treatments": [
                {"channel": bundle(each), "cost_cents": sum(self.cost_cents.get(channel, 0) for channel in each)}
                for each in ([listed] if self.together else [(channel,) for channel in listed])
            ],
        }
        if self.category:
            found["category"] = _text(self.category, attributes, item=item)
        for key, name in (("value_cents", self.value), ("discount_cents", self.discount)):
            if name:
                found[key] = self._cents(name, attributes, item=item)
        for key, name in (("valid_from", self.valid_from), ("valid_until", self.valid_until)):
            if name and (text := _text(name, attributes, item=item)):
                found[key] = _moment(text, name=name, item=item)
        return found

    def _cents(self, name: str, attributes: Attributes, *, item: str) -> int:
        text = attributes.get(name) or "0"  # an offer that nothing is known of yet is worth nothing
        try:
            amount = Decimal(text) * (100 if self.unit == "currency" else 1)
            return int(amount.quantize(Decimal(1), rounding=ROUND_HALF_UP))
        except (InvalidOperation, ValueError, OverflowError) as error:
            raise InputError(f"{name} of offer {item!r} is no amount", got=repr(text), do="mend the export") from error


def with_facts(typed: Mapping[str, Any], facts: OfferFacts, items: Mapping[str, Attributes]) -> dict[str, Any]:
    """What ``offers.toml`` says (``typed``), with an offer for each item that has channels; what is typed counts.

    >>> found = with_facts({"offers": [{"offer_id": "o1", "title": "Mine"}]}, OfferFacts(channels="channels"),
    ...                    {"o1": {"channels": "web"}, "shoe": {"size": "9"}})
    >>> [(offer["offer_id"], offer["title"]) for offer in found["offers"]]
    [('o1', 'Mine')]
    """
    told = {item: facts.offer(item, items[item]) for item in sorted(items) if items[item].get(facts.channels)}
    by_hand = {str(offer.get("offer_id")): offer for offer in typed.get("offers", ())}
    names = dict.fromkeys((*by_hand, *told))
    return {**typed, "offers": [{**told.get(name, {}), **by_hand.get(name, {})} for name in names]}


def _moment(text: str, *, name: str, item: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            f"{name} of offer {item!r} is no moment", got=repr(text), do="write it as 2026-03-01T00:00:00Z"
        ) from error


def _text(name: str, attributes: Attributes, *, item: str) -> str:
    if name not in attributes:
        raise unknown(f"attribute of offer {item!r}", name, attributes)
    text = attributes[name] or ""
    return text.split(".")[0] if re.fullmatch(r"-?[0-9]+\.0+", text) else text
