"""The ledger: decisions, the contact slots they took, consents and the inbox, in one crash-safe SQLite file.

A decision is made between ``BEGIN IMMEDIATE`` and ``COMMIT``: consents and slots are read, the decision is taken and
written with its slot in one transaction, so no other writer can get in between. WAL with ``synchronous=FULL`` means
that what was acknowledged is on disk.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from features.errors import InputError
from serving import schema
from serving.book import Book

LedgerError = SQLAlchemyError
"""What a ledger that can't be read or written raises."""

PATIENCE = 30.0
"""Seconds to wait while another process writes, where nobody is kept waiting for an answer."""

_BUSY = 5  # SQLITE_BUSY


class Ledger:
    """A ledger on disk, made or brought up to date when it is opened.

    Parameters
    ----------
    path: the SQLite file. Beside it lies ``<name>.key``, the secret of suppressions and unsubscribe tokens.

    >>> import tempfile
    >>> ledger = Ledger(Path(tempfile.mkdtemp()) / "ledger.db")
    >>> with ledger.reading() as book:
    ...     book.permissions(["anna"])["anna"].granted
    ()
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.secret = _secret(self.path.with_name(self.path.name + ".key"))
        self._engine = _engine(self.path)
        _bring_up_to_date(self._engine)

    @contextmanager
    def writing(self, *, patience: float = PATIENCE) -> Iterator[Book]:
        """One transaction that holds the write lock from its first statement; committed when the block ends well.

        Raises
        ------
        LedgerError
            When the ledger can't be written, or others hold its lock for longer than ``patience`` (seconds).
        """
        opened = self._engine.connect().execution_options(immediate=True, patience=patience)
        with opened as connection, connection.begin():
            yield Book(connection, self.secret)

    @contextmanager
    def reading(self, *, patience: float = PATIENCE) -> Iterator[Book]:
        """One consistent view, which blocks nobody."""
        with self._engine.connect().execution_options(patience=patience) as connection, connection.begin():
            yield Book(connection, self.secret)

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()


def is_busy(error: SQLAlchemyError) -> bool:
    """Whether the ledger is sound and only held by others at the moment."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlite_errorcode", None) == _BUSY


def _secret(path: Path) -> bytes:
    if not path.exists():
        handle, scratch = tempfile.mkstemp(dir=path.parent)  # mode 0600
        with os.fdopen(handle, "w") as stream:
            stream.write(secrets.token_hex(32))
            stream.flush()
            os.fsync(handle)
        # Whoever links first made the secret; everybody reads that one.
        with contextlib.suppress(FileExistsError):
            os.link(scratch, path)
        Path(scratch).unlink()
    return path.read_text().strip().encode()


def _engine(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": PATIENCE})

    @event.listens_for(engine, "connect")
    def prepare(raw: Any, _: object) -> None:
        raw.isolation_level = None  # SQLAlchemy's BEGIN below is the only one
        for setting in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
            raw.execute(f"PRAGMA {setting}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        milliseconds = round(1000 * options.get("patience", PATIENCE))
        # Straight to the driver: a connection from the pool remembers the patience of its last transaction.
        driver: Any = connection.connection.dbapi_connection
        driver.execute(f"PRAGMA busy_timeout = {milliseconds}")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("immediate") else "BEGIN")

    return engine


def _bring_up_to_date(engine: Engine) -> None:
    if _revision(engine) == schema.HEAD:
        return
    with engine.connect().execution_options(immediate=True) as connection, connection.begin():
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", "serving:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _revision(engine: Engine) -> str | None:
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
    if revision is not None and revision > schema.HEAD:
        raise InputError(
            "the ledger is newer than this Rapport",
            got=f"revision {revision}, known up to {schema.HEAD}",
            do="update Rapport",
        )
    return str(revision) if revision else None
