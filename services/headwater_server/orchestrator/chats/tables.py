"""The tables of chats and turns; `migrations` makes them, and the two have to agree."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

metadata = MetaData()

# What callers and models say is kept as bytes, because the text of PostgreSQL holds no U+0000. Times are in
# microseconds since 1970; the lease alone is in seconds of the database's own clock.
chats = Table(
    "chats",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("request_id", String(36)),
    Column("request", LargeBinary, nullable=False),
    Column("settings", LargeBinary, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("turns", Integer, nullable=False),
    Column("running", String(128)),
    Column("owner", String(64)),
    Column("lease", Double),
    Column("deleted", Boolean, nullable=False),
)
Index("chats_by_request_id", chats.c.tenant, chats.c.request_id, unique=True)
Index("chats_last_changed", chats.c.tenant, chats.c.changed, chats.c.id)
Index(
    "chats_running",
    chats.c.owner,
    sqlite_where=text("running IS NOT NULL"),
    postgresql_where=text("running IS NOT NULL"),
)
Index("chats_deleted", chats.c.id, sqlite_where=text("deleted"), postgresql_where=text("deleted"))

turns = Table(
    "turns",
    metadata,
    Column("chat", String(64), ForeignKey("chats.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("id", String(64), nullable=False),
    Column("tenant", Text, nullable=False),
    Column("answer", String(128), nullable=False),
    Column("request_id", String(36)),
    Column("digest", LargeBinary, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("state", Integer, nullable=False),
    Column("settings", LargeBinary, nullable=False),
    Column("prompt", LargeBinary, nullable=False),
    Column("text", LargeBinary, nullable=False),
    Column("outline", LargeBinary, nullable=False),
    Column("contents", LargeBinary, nullable=False),  # last, so that whoever does not want it need not read it
)
Index("turns_by_id", turns.c.chat, turns.c.id, unique=True)
Index("turns_by_answer", turns.c.answer, unique=True)
Index("turns_by_request_id", turns.c.tenant, turns.c.request_id, unique=True)
