"""The retrieval service: documents in corpora, and the passages of them that a question is about."""
