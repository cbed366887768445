"""The ledger: decisions, the contact slots they took, consents and the inbox, in one crash-safe SQLite file.

A decision is made between ``BEGIN IMMEDIATE`` and ``COMMIT``: consents and slots are read, the decision is taken and
written with its slot in one transaction, so no other writer can get in between. WAL with ``synchronous=FULL`` means
that what was acknowledged is on disk.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import tempfile
import time
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
# Milliseconds between two looks at a lock that is held. SQLite's own wait looks ever more rarely and
# so misses the pauses that a batch makes.
_LOOK = 1
_READERS = 5_000  # milliseconds: those of the service are gone within some


class Ledger:
    """A ledger on disk, made or brought up to date when it is opened.

    Parameters
    ----------
    path: the SQLite file. Beside it lies ``<name>.key``, the secret of suppressions and unsubscribe tokens.

    Raises
    ------
    InputError
        When the file is no ledger, is damaged, can't be opened, or is a newer Rapport's.

    >>> import tempfile
    >>> ledger = Ledger(Path(tempfile.mkdtemp()) / "ledger.db")
    >>> with ledger.reading() as book:
    ...     book.permissions(["anna"])["anna"].granted
    ()
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._engine = _engine(self.path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.secret = _secret(self.path.with_name(self.path.name + ".key"))
            _bring_up_to_date(self._engine)
        except (OSError, UnicodeDecodeError, SQLAlchemyError) as error:
            self._engine.dispose()
            raise _unopened(self.path, error) from error

    @contextmanager
    def writing(self, *, patience: float = PATIENCE, synced: bool = True) -> Iterator[Book]:
        """One transaction that holds the write lock from its first statement; committed when the block ends well.

        It is on disk when this returns, or without ``synced`` after the next synced one, or :meth:`sync`; a crash of
        the machine before that takes whole transactions, the latest ones.

        Raises
        ------
        LedgerError
            When the ledger can't be written, or others hold its lock for longer than ``patience`` (seconds).
        """
        opened = self._engine.connect().execution_options(immediate=True, patience=patience, synced=synced)
        with opened as connection, connection.begin():
            yield Book(connection, self.secret)

    @contextmanager
    def reading(self, *, patience: float = PATIENCE) -> Iterator[Book]:
        """One consistent view, which blocks nobody."""
        with self._engine.connect().execution_options(patience=patience) as connection, connection.begin():
            yield Book(connection, self.secret)

    def others(self) -> int:
        """A number that is another one after somebody else wrote to the ledger; for one thread at a time."""
        with self.reading() as book:
            return int(book.connection.exec_driver_sql("PRAGMA data_version").scalar_one())

    def sync(self) -> None:
        """Put on disk what was committed without it."""
        log = self.path.with_name(self.path.name + "-wal")
        if log.exists():  # else everything is in the database itself, synced when it was moved there
            with log.open("rb+") as stream:
                os.fsync(stream.fileno())

    def checkpoint(self) -> bool:
        """Move everything from the log into the database and empty the log; False where a reader holds on to it."""
        raw = self._engine.raw_connection()
        try:
            raw.cursor().execute(f"PRAGMA busy_timeout = {_READERS}")
            busy: int = raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        finally:
            raw.close()
        return busy == 0

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()


def is_busy(error: SQLAlchemyError) -> bool:
    """Whether the ledger is sound and only held by others at the moment."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlite_errorcode", None) == _BUSY


def _unopened(path: Path, error: Exception) -> InputError:
    if isinstance(error, SQLAlchemyError) and is_busy(error):
        return InputError(
            f"the ledger {path.name} is held by others", got="no turn in time", do="end the process that writes to it"
        )
    reason = str(error.orig) if isinstance(error, DBAPIError) else str(error)
    return InputError(
        f"the ledger {path.name} can't be opened",
        got=reason.strip().splitlines()[0] if reason.strip() else type(error).__name__,
        do="restore it, with its .key file, from a backup, or mend who may read and write it",
    )


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
        _in_turn(raw, "PRAGMA journal_mode=WAL")
        for setting in ("synchronous=FULL", "secure_delete=ON"):
            raw.execute(f"PRAGMA {setting}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        patience = options.get("patience", PATIENCE)
        # Straight to the driver: a connection from the pool remembers the patience of its last transaction.
        driver: Any = connection.connection.dbapi_connection
        driver.execute(f"PRAGMA busy_timeout = {_LOOK if options.get('immediate') else round(1000 * patience)}")
        driver.execute(f"PRAGMA synchronous = {'FULL' if options.get('synced', True) else 'NORMAL'}")
        if not options.get("immediate"):
            connection.exec_driver_sql("BEGIN")
        elif not _begun(driver, patience=patience):
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # once more, for SQLAlchemy's own error

    return engine


def _in_turn(driver: sqlite3.Connection, statement: str) -> None:
    """Run what SQLite refuses at once, whatever its timeout, while another connection does the same to a new file."""
    give_up = time.monotonic() + PATIENCE
    while True:
        try:
            driver.execute(statement)
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != _BUSY or time.monotonic() > give_up:
                raise
            time.sleep(_LOOK / 1000)


def _begun(driver: sqlite3.Connection, *, patience: float) -> bool:
    """Whether the write lock could be had within ``patience`` (seconds)."""
    give_up = time.monotonic() + patience
    while time.monotonic() < give_up:
        try:
            driver.execute("BEGIN IMMEDIATE")
            return True
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != _BUSY:
                return False
    return False


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
