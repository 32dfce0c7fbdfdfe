"""The migrations of the database of chats, run by Alembic."""
