"""Chats: conversations of turns that the orchestrator keeps."""
