"""Wording: what the names of columns and the words of other systems usually mean, in English and some German."""

from __future__ import annotations

import re
from collections.abc import Mapping

#: Column of a fact -> how systems call it; the first pattern that fits any column of a file counts.
NAMES: Mapping[str, tuple[str, ...]] = {
    "customer_id": (
        r"^(cookie|visitor|anonymous|device)(_?(id|key|hash))?$",
        r"^(customer|client|user|member|person|household|recipient|subscriber|shopper|player|kunden?|cust)"
        r"(_?(id|no|nr|num|number|key|ref))?$",
        r"^(loyalty_?card|loyalty|card|account|login|contact)(_?(id|no|nr|number))?$",
        r"(customer|client|user|household|member)_?(id|no|nr|number|key)$",
        r"^(kunden?_?(nummer|id|karte)|kd_?n(umme)?r|numero_client|client_?numero|numero_cliente|klant_?(nummer|nr|id))$",
    ),
    "item": (
        r"^(artikel|produkt|article|articulo)_?(nr|nummer|id|code|numero)?$",
        r"^(kampagne|campagne|campana|gutschein|aktion)(_?(id|nr|code|name))?$",
        r"^(item|sku|article|product|offer|template|creative)(_?(id|no|nr|code|key|upc))?$",
        r"^(coupon|voucher|campaign|promotion)(_?(id|no|nr|code|key|upc))?$",
        r"(item|sku|article|product|offer|coupon)_?(id|no|code|upc)?$",
    ),
    "category": (r"(^|_)(category|section|topic|department|dept|catalogue|aisle|product_group|genre|commodity)$",),
    "brand": (r"(^|_)(brand|marke)(_?(name|id|code))?$",),
    "amount": (
        r"(^|_)(amount|total|revenue|paid|turnover|sales_value|umsatz|betrag|gross|net)(_|$)",
        r"(^|_)(cents|value_cents|price|spend|value|eur|usd|gbp)(_|$)",
    ),
    "quantity": (r"(^|_)(qty|quantity|pieces|units|menge)(_|$)",),
    "currency": (r"^(currency|cur|ccy|waehrung)(_code)?$",),
    "channel": (r"^(channel|medium|via|kanal)$",),
    "wording": (r"(wording|consent_text|statement)",),
    "granted": (
        r"^(granted|consent|consented|opted|opt_in|permission|agreed|allowed|einwilligung|zustimmung"
        r"|consentement|consentimiento|toestemming)(_status|_state)?$",
    ),
    "purpose": (r"^purpose$",),
    "contact_class": (r"^contact_class$",),
    "said_by": (r"^said_by$",),
}
KIND = r"(^|_)(kind|type|event|action|activity|outcome|decision|slip|verb|what|disposition)(_|$)"
OCCURRED = (
    r"(occur|happen|event|order|purchase|sold|visit|sent|posted|decided|start|activity|transaction|redemption|click|open)",
    r"(^|_)(ts|t|at|time|timestamp|date|datetime|day|since|known|became|joined|changed)(_|$)",
)
#: A column that says a day or an hour by its name, in German, French, Spanish or Dutch.
OCCURRED_ABROAD = r"(datum|uhrzeit|zeitpunkt|zeitstempel|^date_|fecha|^heure|tijd)"
RECORDED = r"(record|receiv|process|load|stored|close|keyed|updat|import|sync|ingest|insert)"
NO_EVENT_TIME = r"(birth|dob|geburt|expir|valid|until|(^|_)end)"
COUNTED_TIME = r"^(time|t|hour|hours|day|days|week|month)$"
EVENT_ID = r"(id|no|nr|ref|line|ticket|key|number|receipt|order|uuid|guid)$"
ANY_ID = r"(^|_)(id|uid|uuid|guid|key)$"
SECOND_ID = r"^(user|login|account|customer|member|email|e_mail|mail|phone|mobile)(_?(id|no|name|address|number))?$"
OF_PEOPLE = r"(gender|sex|age|income|birth|e_?mail|phone|city|post_?code|surname|first_?name|given_?name|household)"
OF_ITEMS = r"(item|offer|product|brand|price|reward|difficulty|duration|department|manufacturer|sku|coupon)"

_MEANINGS = (
    (
        "opt_out",
        r"unsub|opt.?out|\bstop\b|no more|do not (call|mail|contact|email|text)|abmeld|ads off|revoke|remove me"
        r"|d[ée]sabon|d[ée]sinscri|baja\b|afmeld|uitschrij",
    ),
    ("opt_in", r"subscri|opt.?in|anmeld"),
    ("no_contact", r"withh[eo]ld|suppressed|not sent|hold ?out|no contact"),
    ("return", r"return|refund|retour|storno"),
    ("cart", r"cart|basket|warenkorb"),
    ("visit", r"page.?view|visit|session|landing|besuch"),
    ("search", r"search|suche"),
    ("discount", r"voucher|coupon|discount|redeem|redempt|completed|gutschein|rabatt"),
    ("click", r"click|tapp?ed|klick|\bclic\b|\bklik"),
    ("open", r"open|view|seen|impression|geöffnet|öffnung|ouvert|abiert|apertura|geopend"),
    ("purchase", r"order|purchase|sale|sold|buy|bought|transaction|checkout|kauf|invoice"),
    ("contact", r"sent|send|deliver|received|mailed|contact|versand"),
    ("call", r"call|question|inquiry|complain|anfrage"),
)
_LETTERS = {"S": "purchase", "R": "return"}
_PLACES = (
    ("email", r"e.?mail|newsletter"),
    ("mail", r"mail|letter|catalogue"),
    ("call", r"call|phone|agent"),
    ("store", r"till|store|shop|pos\b|receipt"),
    ("app", r"\bapp\b|mobile"),
    ("sms", r"sms|text message"),
    ("web", r"web|site|click|hits|page"),
)


def plain(name: str) -> str:
    """A name in small letters with ``_`` between its words.

    >>> plain("value.offer id"), plain("CustomerNo")
    ('value_offer_id', 'customer_no')
    """
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9äöüß]+", "_", apart.lower()).strip("_")


def last(name: str) -> str:
    """The last part of a dotted path, as ``plain`` has it."""
    return plain(name.rpartition(".")[2] or name)


def meaning(word: str) -> str:
    """The kind of event that another system's word stands for; empty when nobody can tell.

    >>> meaning("page_view"), meaning("Offer viewed"), meaning("no more mail"), meaning("R"), meaning("X")
    ('visit', 'open', 'opt_out', 'return', '')
    """
    text = plain(word).replace("_", " ")
    found = next((kind for kind, pattern in _MEANINGS if re.search(pattern, text)), "")
    return found or _LETTERS.get(word, "")


def place(name: str) -> str:
    """The channel that the name of a file tells of; empty for none.

    >>> place("direct_mail.csv"), place("email-2024.csv"), place("tills.parquet"), place("crm.csv")
    ('mail', 'email', 'store', '')
    """
    text = plain(name).replace("_", " ")
    return next((channel for channel, pattern in _PLACES if re.search(pattern, text)), "")
