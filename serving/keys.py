"""Keys of the service by scope, and the signed tokens of unsubscribe links."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from datetime import datetime
from typing import Literal

import msgspec
from sqlalchemy import select, update

from features.errors import InputError, unknown
from features.facts import micros
from serving import schema
from serving.book import Book

Scope = Literal["decide", "ingest", "read", "admin"]
SCOPES: tuple[Scope, ...] = ("decide", "ingest", "read", "admin")
_PREFIX = "rk"
_UNKNOWN = hashlib.sha256(b"no such key").hexdigest()


class KeyRing:
    """The valid keys at one time, as hashes.

    >>> KeyRing({}).allows("rk.0123.nonsense", "read")
    False
    """

    def __init__(self, keys: dict[str, tuple[str, frozenset[str]]]) -> None:
        self._keys = keys

    def __len__(self) -> int:
        return len(self._keys)

    def allows(self, key: str, scope: str) -> bool:
        """Whether ``key`` is valid and has ``scope``; takes the same time for a wrong key as for a right one."""
        return scope in self.scopes(key)

    def scopes(self, key: str) -> frozenset[str]:
        """The scopes of ``key``, none when it is not valid."""
        _, _, rest = key.partition(".")
        key_id, _, secret = rest.partition(".")
        digest, scopes = self._keys.get(key_id, (_UNKNOWN, frozenset()))
        same = hmac.compare_digest(digest, hashlib.sha256(secret.encode()).hexdigest())
        return scopes if same else frozenset()


def make_key(book: Book, *, scopes: Iterable[str], label: str, at: datetime) -> str:
    """A new key with ``scopes``; only its hash is kept, so it is shown this once."""
    wanted = tuple(dict.fromkeys(scopes))
    for scope in wanted:
        if scope not in SCOPES:
            raise unknown("scope", scope, SCOPES)
    if not wanted:
        raise InputError("a key needs a scope", got="none", do=f"name some of {', '.join(SCOPES)}")
    key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    row = {
        "key_id": key_id,
        "digest": hashlib.sha256(secret.encode()).hexdigest(),
        "scopes": ",".join(wanted),
        "label": label,
        "created_at": micros(at),
    }
    book.insert_new(schema.api_keys, "key_id", {key_id: row})
    return f"{_PREFIX}.{key_id}.{secret}"


def revoke_key(book: Book, key_id: str, *, at: datetime) -> None:
    """Make a key invalid from now on.

    Raises
    ------
    InputError
        When there is no such key.
    """
    table = schema.api_keys
    known = list(book.connection.scalars(select(table.c.key_id).order_by(table.c.created_at)))
    if not known:
        raise InputError(
            "there is no key to revoke", got=repr(key_id), do="make one with rapport serve --new-key SCOPES"
        )
    if key_id not in known:
        raise unknown("key", key_id, known, do="pass the part of the key between its dots")
    book.connection.execute(update(table).where(table.c.key_id == key_id).values(revoked_at=micros(at)))


def key_ring(book: Book) -> KeyRing:
    """The keys that are valid now; any number at once, so that they can be rotated."""
    columns = schema.api_keys.c
    query = select(columns.key_id, columns.digest, columns.scopes).where(columns.revoked_at.is_(None))
    return KeyRing(
        {key_id: (digest, frozenset(scopes.split(","))) for key_id, digest, scopes in book.connection.execute(query)}
    )


class Unsubscription(msgspec.Struct, frozen=True, array_like=True):
    """What an unsubscribe link stands for."""

    customer_id: str
    channel: str
    contact_class: str = "marketing"


def sign(unsubscription: Unsubscription, *, secret: bytes) -> str:
    """The token of an unsubscribe link; it doesn't expire, as a no must always be possible.

    >>> token = sign(Unsubscription("c-1", "email"), secret=b"key")
    >>> read_token(token, secret=b"key")
    Unsubscription(customer_id='c-1', channel='email', contact_class='marketing')
    >>> read_token(token, secret=b"another") is None
    True
    """
    body = msgspec.json.encode(unsubscription)
    return _text(_seal(body, secret) + body)


def read_token(token: str, *, secret: bytes) -> Unsubscription | None:
    """What ``token`` stands for; None when it was not signed with ``secret``."""
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except ValueError:
        return None
    seal, body = raw[:16], raw[16:]
    if not hmac.compare_digest(seal, _seal(body, secret)):
        return None
    try:
        return msgspec.json.decode(body, type=Unsubscription)
    except msgspec.DecodeError:
        return None


def _seal(body: bytes, secret: bytes) -> bytes:
    return hmac.new(secret, b"unsubscribe\x1f" + body, "sha256").digest()[:16]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
