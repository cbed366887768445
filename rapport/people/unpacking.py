"""Unpacking: the text of a file, out of whatever it is packed in, so that it can be searched."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from features.sql import in_memory

#: What a file may fail with that is broken, locked, or packed in a way that nobody here can open.
UNREADABLE = (
    pa.ArrowException,
    duckdb.Error,
    OSError,
    EOFError,
    RuntimeError,  # a ZIP file with a password
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)

Texts = Iterator[tuple[str, bool]]

_CHUNK, _OVERLAP = 1 << 24, 1 << 12
_DEEPEST = 4
_LONGEST_MAGIC = 8


def texts_of(stream: IO[bytes], *, depth: int = 0) -> Texts:
    """The texts of a file, piece by piece, each with whether words in it have bounds; archives are unpacked.

    Raises
    ------
    One of UNREADABLE, also for formats that hold text in packed form which is not opened here.
    """
    if depth > _DEEPEST:
        raise OSError("an archive in an archive, and so on")
    head = stream.read(_LONGEST_MAGIC)
    stream.seek(0)
    read = next((each for magic, each in _PACKED if head.startswith(magic)), _plain)
    yield from read(stream, depth)


def _plain(stream: IO[bytes], depth: int) -> Texts:
    before = b""
    while chunk := stream.read(_CHUNK):
        whole = before + chunk
        binary = b"\0" in whole
        yield whole.decode("utf-8", "replace"), not binary
        if binary:  # letters of two or four bytes
            yield whole.replace(b"\0", b"").decode("utf-8", "replace"), False
        before = whole[-_OVERLAP:]


def _zipped(stream: IO[bytes], depth: int) -> Texts:
    with zipfile.ZipFile(stream) as archive:
        for name in archive.namelist():
            with archive.open(name) as member:
                yield from texts_of(member, depth=depth + 1)


def _unpacked(opener: Any) -> Callable[[IO[bytes], int], Texts]:
    def read(stream: IO[bytes], depth: int) -> Texts:
        with opener(stream) as inner:
            yield from texts_of(inner, depth=depth + 1)

    return read


def _table(stream: IO[bytes], depth: int) -> Texts:
    """The values of a Parquet file as text, whatever their type: lists, dictionaries and whole numbers too."""
    with in_memory() as connection:
        for batch in pq.ParquetFile(stream).iter_batches():
            for column in batch.columns:
                if pa.types.is_temporal(column.type) or pa.types.is_floating(column.type):
                    continue
                connection.register("held", pa.table({"value": column}))
                rows = connection.execute("SELECT DISTINCT CAST(value AS VARCHAR) FROM held WHERE value IS NOT NULL")
                yield "\n".join(row[0] for row in rows.fetchall()), True
                connection.unregister("held")


def _closed(stream: IO[bytes], depth: int) -> Texts:
    raise OSError("a packed format that is not opened here")


_PACKED: tuple[tuple[bytes, Callable[[IO[bytes], int], Texts]], ...] = (
    (b"PK\x03\x04", _zipped),
    (b"PAR1", _table),
    (b"\x1f\x8b", _unpacked(gzip.open)),
    (b"BZh", _unpacked(bz2.open)),
    (b"\xfd7zXZ\0", _unpacked(lzma.open)),
    # PDF, 7-Zip, RAR, Zstandard, Arrow, ORC, Avro
    *(
        (magic, _closed)
        for magic in (b"%PDF", b"7z\xbc\xaf", b"Rar!", b"\x28\xb5\x2f\xfd", b"ARROW1", b"ORC", b"Obj\1")
    ),
)
