"""What can be proposed: offers, and their treatments on each channel."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import msgspec

from features.errors import InputError, unknown
from serving.conditions import Condition

CHANNEL_PATTERN = r"^(?!all$)[A-Za-z0-9][A-Za-z0-9_-]{0,63}(?!\n)$"
"""What the name of a channel looks like; ``all`` stands for every channel where consent is given."""

Channel = Annotated[
    str, msgspec.Meta(pattern=CHANNEL_PATTERN, description="A channel's name: letters, digits, '_' and '-', not 'all'.")
]
"""A channel, by the name that the company gives it."""

ContactClass = Literal["marketing", "service"]
"""Limits and consent differ between marketing and service (transactional) contacts."""

CHANNELS = ("web", "email", "mail", "call", "store")
"""The usual channels (``mail`` is direct mail, ``call`` the call centre); a company may have any others."""

CONTACT_CLASSES: tuple[ContactClass, ...] = ("marketing", "service")
NOTHING = "nothing"
"""The action that is no contact; it is always a candidate."""

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}(?!\n)$"
"""What an id of an offer, a customer or a decision looks like."""

Id = msgspec.Meta(pattern=ID_PATTERN)
T = TypeVar("T")


def from_toml(raw: object, kind: type[T], *, where: str) -> T:
    """``raw`` (what ``tomllib`` read) as a ``kind`` of this room; unknown keys and wrong types are refused.

    >>> from_toml({"offer": []}, Catalogue, where="offers.toml")
    Traceback (most recent call last):
    features.errors.InputError: offers.toml is not valid; got Object contains unknown field `offer`; mend it there
    """
    try:
        return msgspec.convert(raw, kind)
    except InputError as error:
        raise InputError(f"{where}: {error.wrong}", got=error.got, do=error.do) from error
    except msgspec.ValidationError as error:
        raise InputError(f"{where} is not valid", got=str(error), do="mend it there") from error


class Content(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An offer on one channel: what it costs to send, where it shows and what it says.

    In TOML, within an offer: ``[[offers.treatments]]`` with ``channel = "email"``, ``cost_cents = 2``,
    ``placement = "inbox"`` and ``text = "..."``.
    """

    channel: str
    cost_cents: int = 0
    placement: str | None = None
    text: str = ""

    def __post_init__(self) -> None:
        check_channel("channel of a treatment", self.channel)
        _not_negative("cost_cents", self.cost_cents)


class Offer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is proposed to a customer: its worth, validity and conditions, and its content on each channel.

    In TOML::

        [[offers]]
        offer_id = "shoes-10"
        title = "10% off shoes"
        category = "shoes"
        contact_class = "marketing"                # or "service"
        value_cents = 1500                         # expected margin of one response
        discount_cents = 500                       # given away with each response
        valid_from = 2026-01-01T00:00:00Z          # times carry their offset
        valid_until = 2026-12-31T23:59:59Z         # the first moment at which it no longer holds
        eligibility = [{feature = "purchases_365d", at_least = 1}]
        applicability = []
        suitability = [{feature = "returns_365d", at_most = 3}]
        [[offers.treatments]]
        channel = "email"
        cost_cents = 2
        placement = "inbox"
        text = "Ten percent off shoes, this week only."

    >>> offer = Offer(offer_id="shoes-10", title="10% off", treatments=(Content(channel="email", cost_cents=2),))
    >>> [treatment.treatment_id for treatment in Catalogue(offers=(offer,)).treatments]
    ['shoes-10@email']
    """

    offer_id: str
    title: str
    category: str = ""
    contact_class: ContactClass = "marketing"
    value_cents: int = 0
    discount_cents: int = 0
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    eligibility: tuple[Condition, ...] = ()
    applicability: tuple[Condition, ...] = ()
    suitability: tuple[Condition, ...] = ()
    treatments: tuple[Content, ...] = ()

    def __post_init__(self) -> None:
        check_id("offer_id", self.offer_id)
        _not_negative("discount_cents", self.discount_cents)
        for name, moment in (("valid_from", self.valid_from), ("valid_until", self.valid_until)):
            if moment is not None and moment.tzinfo is None:
                raise InputError(
                    f"{name} of offer {self.offer_id!r} has no time zone",
                    got=moment.isoformat(),
                    do=f"write {moment.isoformat()}Z for UTC",
                )
        channels = [content.channel for content in self.treatments]
        if len(set(channels)) < len(channels):
            raise InputError(
                f"offer {self.offer_id!r} has two treatments on one channel", got=str(channels), do="keep one of them"
            )


class Treatment(NamedTuple):
    """An offer's creative on one channel: the thing that can be sent."""

    treatment_id: str
    offer: Offer
    content: Content

    @property
    def channel(self) -> str:
        """Where it is sent."""
        return self.content.channel


class Catalogue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """All offers, and the static contacts that stand in when a model can't be read.

    In TOML: ``static = ["shoes-10@email", "shoes-10@web"]`` (treatment ids; the first that survives all checks is
    used) and ``[[offers]]`` as in :class:`Offer`.
    """

    offers: tuple[Offer, ...] = ()
    static: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [offer.offer_id for offer in self.offers]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError("offer ids repeat", got=", ".join(twice), do="give each offer an id of its own")
        for treatment_id in self.static:
            self.index(treatment_id)

    @cached_property
    def treatments(self) -> tuple[Treatment, ...]:
        """Every offer on every channel of its own, in the order of the file; the order of all value arrays."""
        return tuple(
            Treatment(f"{offer.offer_id}@{content.channel}", offer, content)
            for offer in self.offers
            for content in offer.treatments
        )

    @cached_property
    def actions(self) -> tuple[str, ...]:
        """``nothing`` and then the treatment ids: the columns of all arrays over actions."""
        return (NOTHING, *(treatment.treatment_id for treatment in self.treatments))

    def index(self, treatment_id: str) -> int:
        """The place of a treatment in :attr:`treatments`; the error names the near ones."""
        place = self._places.get(treatment_id)
        if place is None:
            raise unknown("treatment", treatment_id, self._places)
        return place

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {treatment.treatment_id: place for place, treatment in enumerate(self.treatments)}


def check_id(field: str, value: Any) -> None:
    """Raise unless ``value`` is an id: letters, digits and ``_.:-``, at most 128 characters."""
    if not isinstance(value, str) or not re.fullmatch(ID_PATTERN, value):
        raise InputError(
            f"{field} is not an id",
            got=repr(value)[:80],
            do="use letters, digits, '_', '.', ':' and '-', at most 128, a letter or digit first",
        )


def check_channel(field: str, value: str) -> None:
    """Raise unless ``value`` can be a channel's name: letters, digits, ``_`` and ``-``, at most 64, not ``all``."""
    if not re.fullmatch(CHANNEL_PATTERN, value):
        raise InputError(
            f"the {field} is no name of a channel",
            got=repr(value)[:80],
            do="use letters, digits, '_' and '-', at most 64, a letter or digit first, and not 'all'",
        )


def _not_negative(field: str, value: int) -> None:
    if value < 0:
        raise InputError(f"{field} is negative", got=str(value), do="pass whole cents, zero or more")
