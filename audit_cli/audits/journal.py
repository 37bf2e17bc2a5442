"""What a run has measured so far, on disk: so that memory stays flat, and a run that was stopped can go on.

A measurement is filed under a keyed hash of the tokens that it is of: it stays right whatever else the files hold.
A journal belongs to the settings that decide the numbers. It holds no text.
"""

import contextlib
import copy
import hashlib
import hmac
import json
import os
import sqlite3
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit_cli.records import Row

# What SQLite says of a file that something else has written into.
DAMAGE = ("malformed", "not a database", "Could not decode", "no such", "too big", "corrupt")
# Marks the file as ours ("uddm").
APPLICATION = 0x7564646D
CACHE_KIB = 8192
# What was measured of one text takes kilobytes; more is no measurement.
VALUE_BYTES = 64 << 20
LASTING = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT, seal BLOB);
CREATE TABLE IF NOT EXISTS measured (key BLOB PRIMARY KEY, reason TEXT NOT NULL, data BLOB, seal BLOB)
"""
# Of the run that is under way, by the number of the set of texts: made anew by the next run.
PASSING = """
CREATE TEMP TABLE texts (of_set INTEGER, position INTEGER, key BLOB, first INTEGER NOT NULL, tokens INTEGER,
    reason TEXT NOT NULL, id BLOB NOT NULL, PRIMARY KEY (of_set, position)) WITHOUT ROWID;
CREATE INDEX temp.texts_by_key ON texts (of_set, key);
CREATE TEMP TABLE windows (of_set INTEGER, position INTEGER, number INTEGER, start INTEGER NOT NULL, key BLOB NOT NULL,
    PRIMARY KEY (of_set, position, number)) WITHOUT ROWID
"""


class JournalError(Exception):
    """A journal that cannot be used or written; the message says what to do."""


class OtherSettings(JournalError):
    """A journal of a run with other settings."""


class InUse(JournalError):
    """A journal that another run has open."""


class DiskFull(JournalError):
    """No room to keep what was measured."""


@dataclass(frozen=True)
class TextEntry:
    """A text of the run: `first` is the position of the first text with the same tokens."""

    position: int
    first: int
    tokens: int | None
    reason: str
    windows: int


class Journal:
    """Measurements by key, and the texts of the run that is under way."""

    def __init__(self, path: Path | None, key: bytes, restart: bool = False) -> None:
        """The journal at `path`, begun or gone on with; a temporary one for None. `key` makes the keyed hashes.

        Raises JournalError if another run has it open, or if something else is there.
        """
        self.path, self._given = path, key
        self._key = hmac.new(key, b"journal", hashlib.sha256).digest()
        self._set = 0
        # Shared with the journals of other sets.
        self._state = {"kept": False, "finished": False}
        with self._told():
            self._db = self._opened()
            if restart and path is not None:
                # The lock is ours, so nobody else's run is thrown away; a damaged file goes as well.
                self._db.close()
                path.unlink()
                self._db = self._opened()
            try:
                self._begin()
                self._state["kept"] = self._count() > 0
            except BaseException:
                self._db.close()
                raise

    def _opened(self) -> sqlite3.Connection:
        """The database, locked for this run."""
        path = self.path
        if path is not None:
            _refuse_foreign(path)
            if not path.exists():
                # Ours alone from the first byte on.
                path.touch(mode=0o600)
        db = sqlite3.connect("" if path is None else path, isolation_level=None, timeout=0.5)
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_BYTES)
        for pragma in (
            # A file that someone has changed runs nothing of what it says.
            "trusted_schema = OFF",
            f"cache_size = -{CACHE_KIB}",
            "temp_store = FILE",
            "locking_mode = EXCLUSIVE",
            "synchronous = NORMAL",
        ):
            db.execute(f"PRAGMA {pragma}")
        db.execute("BEGIN EXCLUSIVE")
        return db

    def _begin(self) -> None:
        """Make the tables of a new journal, or see that an old one has these and nothing else."""
        expected = sqlite3.connect(":memory:")
        for db in (expected, self._db):
            for statement in LASTING.split(";\n"):
                db.execute(statement)
        schema = "SELECT type, name, sql FROM sqlite_master ORDER BY type, name"
        if self._db.execute(schema).fetchall() != expected.execute(schema).fetchall():
            raise sqlite3.DatabaseError("malformed")
        expected.close()
        self._db.execute(f"PRAGMA application_id = {APPLICATION}")
        self._db.execute("COMMIT")
        for statement in PASSING.split(";\n"):
            self._db.execute(statement)

    def of_set(self, number: int) -> "Journal":
        """The same journal for another set of texts of the run: what one set has measured, all have. It is closed with
        this one, and not by itself."""
        out = copy.copy(self)
        out._set = number
        return out

    def bind(self, identity: dict[str, Any]) -> None:
        """Bind a new journal to what decides its numbers. Raises OtherSettings if it is bound to something else."""
        # As JSON keeps it: lists for tuples.
        mine = json.loads(json.dumps(identity | {"fingerprint key": self._name()}))
        with self._told():
            found = self._db.execute("SELECT value, seal FROM facts WHERE name = 'identity'").fetchone()
            if found is None:
                value = json.dumps(mine, sort_keys=True)
                self._db.execute("INSERT INTO facts VALUES ('identity', ?, ?)", (value, self._seal(value)))
                return
            before = self._sealed(*found)
        changed = [name for name in before.keys() | mine.keys() if before.get(name) != mine.get(name)]
        if changed:
            told = ", ".join(
                f"{name} (was {_brief(before.get(name))}, now {_brief(mine.get(name))})" for name in sorted(changed)
            )
            raise OtherSettings(
                f"{self.path} keeps {self.count():,} measurements of a run with other settings: {told}. "
                "Give the same settings to go on with it, another -o, or --restart to begin anew"
            )

    def derived(self, purpose: str) -> bytes:
        """Another key, of the one that the journal was given: only who has that one can make it."""
        return hmac.new(self._key, f"derived {purpose}".encode(), hashlib.sha256).digest()

    def another(self, path: Path) -> "Journal":
        """The journal at another path under the same key: what one has filed, the other can file as it is."""
        return Journal(path, self._given)

    def _seal(self, *values: str | bytes | None) -> bytes:
        """A keyed checksum: what was changed on the disk is no measurement of ours."""
        parts = [v.encode("utf-8", "surrogatepass") if isinstance(v, str) else v or b"" for v in values]
        message = b"".join(len(p).to_bytes(8, "little") + p for p in parts)
        return hmac.new(self._key, message, hashlib.sha256).digest()[:8]

    def _sealed(self, value: Any, seal: Any) -> dict[str, Any]:
        """The identity of the run that began the journal; one under another key has no seal of ours."""
        try:
            before = json.loads(value)
            if not isinstance(before, dict):
                raise ValueError
        except (TypeError, ValueError, RecursionError):
            raise sqlite3.DatabaseError("malformed") from None
        if "fingerprint key" in before and before["fingerprint key"] == self._name() and seal != self._seal(value):
            raise sqlite3.DatabaseError("malformed")
        return before

    def _name(self) -> str:
        return hashlib.sha256(self._key).hexdigest()[:16]

    def _checked(self, key: Any, reason: Any, data: Any, seal: Any) -> tuple[str, bytes]:
        right = isinstance(key, bytes) and isinstance(reason, str) and (data is None or isinstance(data, bytes))
        if not right or seal != self._seal(key, reason, data):
            raise sqlite3.DatabaseError("malformed")
        return reason, data

    def key(self, kind: str, numbers: Iterable[int]) -> bytes:
        """The keyed hash of some tokens for measurements of a kind."""
        message = kind.encode("utf-8", "surrogatepass") + array("q", numbers).tobytes()
        return hmac.new(self._key, message, hashlib.sha256).digest()[:16]

    def row_key(self, kind: str, row: Row) -> bytes:
        """The keyed hash of a row: its tokens, and which of them are layout."""
        beside = (len(row.prompt), *row.prompt, *row.tokens) if row.prompt else row.tokens
        return self.key(kind, (row.start, row.stop, *beside))

    def count(self) -> int:
        """How many measurements there are."""
        with self._told():
            return self._count()

    def _count(self) -> int:
        return int(self._db.execute("SELECT COUNT(*) FROM measured").fetchone()[0])

    def has(self, key: bytes) -> bool:
        """Whether there is a measurement under the key."""
        with self._told():
            return self._db.execute("SELECT 1 FROM measured WHERE key = ?", (key,)).fetchone() is not None

    def get(self, key: bytes) -> tuple[str, bytes] | None:
        """The measurement under a key: the reason why there is none, or empty and its bytes."""
        with self._told():
            found = self._db.execute("SELECT key, reason, data, seal FROM measured WHERE key = ?", (key,)).fetchone()
            return None if found is None else self._checked(*found)

    def put(self, entries: Iterable[tuple[bytes, str, bytes | None]]) -> None:
        """File measurements, all of them or none: key, reason, bytes."""
        with self._told(), self._transaction():
            done = self._db.executemany(
                "INSERT OR REPLACE INTO measured VALUES (?, ?, ?, ?)",
                ((key, reason, data, self._seal(key, reason, data)) for key, reason, data in entries),
            )
        self._state["kept"] |= done.rowcount > 0

    @contextmanager
    def texts_anew(self) -> Iterator[None]:
        """Forget the texts of the run; those added inside are kept if it ends well."""
        with self._told(), self._transaction():
            self._db.execute("DELETE FROM texts WHERE of_set = ?", (self._set,))
            self._db.execute("DELETE FROM windows WHERE of_set = ?", (self._set,))
            yield

    def add_text(self, position: int, name: str, key: bytes | None, tokens: int | None, reason: str = "") -> TextEntry:
        """Note a text, inside `texts_anew`."""
        first = position
        if key is not None:
            query = "SELECT first FROM texts WHERE of_set = ? AND key = ? LIMIT 1"
            found = self._db.execute(query, (self._set, key)).fetchone()
            first = found[0] if found else position
        # As bytes: an id from JSON may hold half a surrogate pair.
        entry = (self._set, position, key, first, tokens, reason, name.encode("utf-8", "surrogatepass"))
        self._db.execute("INSERT INTO texts VALUES (?, ?, ?, ?, ?, ?, ?)", entry)
        return TextEntry(position, first, tokens, reason, 0)

    def add_windows(self, position: int, windows: Iterable[tuple[int, bytes]]) -> None:
        """Note the windows of a text: where each begins, and its key."""
        self._db.executemany(
            "INSERT INTO windows VALUES (?, ?, ?, ?, ?)",
            ((self._set, position, n, at, key) for n, (at, key) in enumerate(windows)),
        )

    def texts(self) -> Iterator[TextEntry]:
        """The texts of the run, in order."""
        query = (
            "SELECT t.position, t.first, t.tokens, t.reason, COUNT(w.position) FROM texts t "
            "LEFT JOIN windows w ON w.of_set = t.of_set AND w.position = t.first "
            "WHERE t.of_set = ? GROUP BY t.position ORDER BY t.position"
        )
        with self._told():
            for row in self._db.execute(query, (self._set,)):
                yield TextEntry(*row)

    def name(self, position: int) -> str:
        """The id of a text of the run."""
        with self._told():
            query = "SELECT id FROM texts WHERE of_set = ? AND position = ?"
            found: bytes = self._db.execute(query, (self._set, position)).fetchone()[0]
            return found.decode("utf-8", "surrogatepass")

    def parts(self) -> Iterator[tuple[int, int, int, bytes, str | None, bytes | None]]:
        """All windows of all distinct texts: position, number, start, key, and reason and bytes if measured."""
        query = (
            "SELECT w.position, w.number, w.start, w.key, m.reason, m.data, m.seal FROM windows w "
            "LEFT JOIN measured m ON m.key = w.key WHERE w.of_set = ? ORDER BY w.position, w.number"
        )
        with self._told():
            # No "yield from": a stream that is given up must not touch a database that is closed by then.
            for position, number, start, key, reason, data, seal in self._db.execute(query, (self._set,)):
                if reason is None:
                    yield position, number, start, key, None, None
                else:
                    yield position, number, start, key, *self._checked(key, reason, data, seal)

    def windows(self, position: int) -> list[tuple[int, bytes]]:
        """Start and key of every window of a distinct text."""
        with self._told():
            query = "SELECT start, key FROM windows WHERE of_set = ? AND position = ? ORDER BY number"
            return self._db.execute(query, (self._set, position)).fetchall()

    def part(self, position: int, number: int) -> tuple[int, bytes]:
        """Start and measurement of a window."""
        query = (
            "SELECT w.start, m.key, m.reason, m.data, m.seal FROM windows w JOIN measured m ON m.key = w.key "
            "WHERE w.of_set = ? AND w.position = ? AND w.number = ?"
        )
        with self._told():
            start, *measured = self._db.execute(query, (self._set, position, number)).fetchone()
            return int(start), self._checked(*measured)[1]

    def close(self) -> None:
        """Close the file, and keep it if there is anything in it. May be called again."""
        with contextlib.suppress(sqlite3.Error):
            self._db.close()
        if not self._state["kept"] and self.path is not None:
            self.path.unlink(missing_ok=True)

    @property
    def finished(self) -> bool:
        """Whether `finish` was called."""
        return self._state["finished"]

    def finish(self) -> None:
        """Remove the file: its results are written elsewhere. Until it is closed it can be read all the same."""
        self._state |= {"kept": False, "finished": True}
        if self.path is not None:
            # SQLite's own first: alone, what is left of a program that ends here would be taken for a stranger's. Where
            # open files cannot be removed, closing does.
            for path in (self.path.with_name(f"{self.path.name}-journal"), self.path):
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Errors of the database as ours."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def _explained(self, error: sqlite3.Error) -> JournalError:
        where = "the temporary journal" if self.path is None else str(self.path)
        reason = str(error)
        if "locked" in reason:
            return InUse(f"{where}: another run is writing this output")
        if "full" in reason or "disk I/O" in reason:
            kept = " What was measured is kept there: free some space and give the same command again"
            return DiskFull(f"{where}: the disk is full.{kept if self.path and self._state['kept'] else ''}")
        if any(said in reason for said in DAMAGE):
            return JournalError(f"{where}: damaged; remove it to begin anew")
        return JournalError(f"{where}: {reason}")


def _refuse_foreign(path: Path) -> None:
    """Raise JournalError unless the path is free or holds a journal."""
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise JournalError(f"{path}: is there and is no journal of a run")
        for other in (path.with_name(path.name + suffix) for suffix in ("-journal", "-wal", "-shm")):
            # SQLite would take it for its own, and remove it.
            if other.is_symlink() or (os.path.lexists(other) and not path.exists()):
                raise JournalError(f"{other}: is there and is no journal of a run; move it away, or give another -o")
        if not path.exists():
            return
        with path.open("rb") as file:
            head = file.read(72)
    except OSError as error:
        raise JournalError(f"{path}: {error.strerror}") from None
    # An empty file is one whose run was stopped before its first write.
    if head and not (head.startswith(b"SQLite format 3\0") and head[68:72] == APPLICATION.to_bytes(4, "big")):
        raise JournalError(f"{path}: is there and is no journal of a run; move it away, or give another -o")


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
