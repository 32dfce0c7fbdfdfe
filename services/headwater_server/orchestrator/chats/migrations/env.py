"""What Alembic runs to bring a database of chats up to date; `databases.migrate` hands it a connection."""

from __future__ import annotations

from alembic import context

from headwater_server.orchestrator.chats.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
