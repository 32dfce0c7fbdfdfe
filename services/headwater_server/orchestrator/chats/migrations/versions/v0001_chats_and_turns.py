"""Chats and their turns."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes both tables."""
    op.create_table(
        "chats",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("request_id", sa.String(36)),
        sa.Column("request", sa.LargeBinary, nullable=False),
        sa.Column("settings", sa.LargeBinary, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("changed", sa.BigInteger, nullable=False),
        sa.Column("turns", sa.Integer, nullable=False),
        sa.Column("running", sa.String(128)),
        sa.Column("owner", sa.String(64)),
        sa.Column("lease", sa.Double),
        sa.Column("deleted", sa.Boolean, nullable=False),
    )
    op.create_index("chats_by_request_id", "chats", ["tenant", "request_id"], unique=True)
    op.create_index("chats_last_changed", "chats", ["tenant", "changed", "id"])
    running = sa.text("running IS NOT NULL")
    op.create_index("chats_running", "chats", ["owner"], sqlite_where=running, postgresql_where=running)
    deleted = sa.text("deleted")
    op.create_index("chats_deleted", "chats", ["id"], sqlite_where=deleted, postgresql_where=deleted)
    op.create_table(
        "turns",
        sa.Column("chat", sa.String(64), sa.ForeignKey("chats.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("answer", sa.String(128), nullable=False),
        sa.Column("request_id", sa.String(36)),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Integer, nullable=False),
        sa.Column("settings", sa.LargeBinary, nullable=False),
        sa.Column("prompt", sa.LargeBinary, nullable=False),
        sa.Column("text", sa.LargeBinary, nullable=False),
        sa.Column("outline", sa.LargeBinary, nullable=False),
        sa.Column("contents", sa.LargeBinary, nullable=False),
    )
    op.create_index("turns_by_id", "turns", ["chat", "id"], unique=True)
    op.create_index("turns_by_answer", "turns", ["answer"], unique=True)
    op.create_index("turns_by_request_id", "turns", ["tenant", "request_id"], unique=True)
