"""Calls to other people's servers: models, embedders, rerankers."""
