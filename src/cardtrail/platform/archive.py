"""The file of a backup, the same for both engines: frames of MessagePack, packed by gzip, sealed by a digest.

A frame is a letter, the length of what follows in 4 bytes, and that. First the head (`H`), then for each table of the
schema its name (`T`) and its rows in chunks (`R`), in the end (`E`) how many rows each table has and the SHA-256 of all
that came before. A file without its end, or with another one, is no backup.
"""

import gzip
import hashlib
import struct
import zlib
from collections.abc import Iterator, Sequence
from types import GenericAlias
from typing import Annotated, Any, BinaryIO, NamedTuple

import msgspec

from cardtrail.db import Row, Table
from cardtrail.errors import InputError

KIND = "cardtrail backup"
FORMAT = 1
MAX_FRAME = 268_435_456
"""Longest frame, bytes: some hundred rows, of which the longest holds one event or one picture."""
LEVEL = 1
"""How hard gzip tries. The next ones take twice as long and more, for a tenth less."""

_HEADER = struct.Struct(">cI")
_Number = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_KINDS: dict[type, Any] = {int: _Number | None, str: str | None, bytes: bytes | None}


class Head(msgspec.Struct, frozen=True):
    """Of what a file is a backup; `made_at` in µs: what was accepted before is in it."""

    release: str
    schema_version: int
    engine: str
    epoch: str
    made_at: int
    kind: str = KIND
    format: int = FORMAT


class End(msgspec.Struct, frozen=True):
    """What stands at the end: rows by table, and the digest of everything before."""

    rows: dict[str, int]
    digest: str


class Contents(NamedTuple):
    """What a whole backup holds; `rows` by table."""

    head: Head
    rows: dict[str, int]


class ArchiveWriter:
    """Writes a backup into an open file: the head, then each table, then the end."""

    def __init__(self, file: BinaryIO, head: Head) -> None:
        self._gzip = gzip.GzipFile(fileobj=file, mode="wb", compresslevel=LEVEL, mtime=0, filename="")
        self._digest = hashlib.sha256()
        self._rows: dict[str, int] = {}
        self._table = ""
        self._write(b"H", head)

    def begin(self, table: Table) -> None:
        """Begin a table."""
        self._write(b"T", table.name)
        self._table = table.name
        self._rows[table.name] = 0

    def add(self, rows: Sequence[Row]) -> None:
        """Add rows to the table begun last."""
        self._write(b"R", rows)
        self._rows[self._table] += len(rows)

    def end(self) -> None:
        """Write the end."""
        self._write(b"E", End(self._rows, self._digest.hexdigest()))
        self._gzip.close()

    def _write(self, letter: bytes, value: object) -> None:
        body = msgspec.msgpack.encode(value)
        for part in (_HEADER.pack(letter, len(body)), body):
            self._gzip.write(part)
            self._digest.update(part)


class Shape(NamedTuple):
    """What a backup must fit: the tables of this program's schema, and its version."""

    version: int
    tables: Sequence[Table]


def verified(file: BinaryIO, name: str, shape: Shape) -> Contents:
    """Read a whole backup; return what it holds. Raises InputError where it is damaged, or of another schema."""
    archive = Archive(file, name, shape)
    for _ in archive.rows():
        pass
    return archive.contents()


class Archive:
    """A backup to be read once, from the beginning of an open file to its end; `name` is for messages."""

    def __init__(self, file: BinaryIO, name: str, shape: Shape) -> None:
        self._file = file
        self._name = name
        self._shape = shape
        self._head: Head | None = None
        self._end: End | None = None

    def contents(self) -> Contents:
        """Return what it holds, once it was read to its end. Raises InputError where that did not come."""
        if self._head is None or self._end is None:
            raise self._damaged("it has no end")
        return Contents(self._head, self._end.rows)

    def rows(self) -> Iterator[tuple[Table, list[Row]]]:
        """Give the rows of every table in chunks. Raises InputError, at the latest at the end."""
        try:
            self._file.seek(0)
            with gzip.GzipFile(fileobj=self._file, mode="rb") as packed:
                yield from self._chunks(_Frames(packed))
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise self._damaged(str(error)) from None
        except msgspec.ValidationError as error:
            raise self._damaged(f"a row does not fit its table: {error}") from None
        except (msgspec.DecodeError, ValueError) as error:
            raise self._damaged(str(error)) from None
        except OSError as error:
            raise InputError("file", f"{self._name}: {error.strerror}") from None

    def _chunks(self, frames: "_Frames") -> Iterator[tuple[Table, list[Row]]]:
        self._head = self._head_of(frames.next(b"H"))
        counted: dict[str, int] = {}
        for table in self._shape.tables:
            if msgspec.msgpack.decode(frames.next(b"T"), type=str) != table.name:
                raise self._damaged(f"table {table.name} is not where it should be")
            decoder = _decoder_of(table)
            counted[table.name] = 0
            while (body := frames.next_if(b"R")) is not None:
                rows = decoder.decode(body)
                counted[table.name] += len(rows)
                yield table, rows
        digest = frames.digest
        end = msgspec.msgpack.decode(frames.next(b"E"), type=End)
        frames.ends()
        if end != End(counted, digest):
            raise self._damaged("it does not hold what its end says")
        self._end = end

    def _head_of(self, body: bytes) -> Head:
        head = msgspec.msgpack.decode(body, type=Head)
        if head.kind != KIND or head.format != FORMAT:
            raise self._damaged(f"format {FORMAT} expected, not {head.format}")
        if head.schema_version != self._shape.version:
            raise InputError(
                "file", f"{self._name} was made by cardtrail {head.release} with schema version {head.schema_version}, "
                f"this program has {self._shape.version}: restore it with that release, then upgrade",
            )  # fmt: skip
        return head

    def _damaged(self, why: str) -> InputError:
        return InputError("file", f"{self._name} is damaged or no backup of cardtrail: {why}")


def _decoder_of(table: Table) -> "msgspec.msgpack.Decoder[list[Row]]":
    """Return what decodes a chunk of a table's rows, and refuses values of another kind."""
    row = GenericAlias(tuple, tuple(_KINDS[kind] for kind in table.columns.values()))
    return msgspec.msgpack.Decoder(GenericAlias(list, (row,)))


class _Frames:
    """Frames of a stream, one after the other, and the digest of all that were taken."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self._ahead: tuple[bytes, bytes] | None = None
        self.digest = ""

    def next(self, letter: bytes) -> bytes:
        """Return the body of the next frame. Raises ValueError where it is another one."""
        body = self.next_if(letter)
        if body is None:
            raise ValueError(f"a frame {letter.decode()} is missing")
        return body

    def next_if(self, letter: bytes) -> bytes | None:
        """Return the body of the next frame if it is such a one."""
        if self._ahead is None:
            self.digest = self._digest.hexdigest()
            self._ahead = self._read()
        if self._ahead[0] != letter:
            return None
        body, self._ahead = self._ahead[1], None
        return body

    def ends(self) -> None:
        """Raise ValueError where something follows."""
        if self._stream.read(1):
            raise ValueError("something follows its end")

    def _read(self) -> tuple[bytes, bytes]:
        header = self._stream.read(_HEADER.size)
        if len(header) != _HEADER.size:
            raise EOFError("it ends too early")
        letter, length = _HEADER.unpack(header)
        if length > MAX_FRAME:
            raise ValueError(f"a frame has {length} bytes, at most {MAX_FRAME}")
        body = self._stream.read(length)
        if len(body) != length:
            raise EOFError("it ends too early")
        self._digest.update(header)
        self._digest.update(body)
        return letter, body
