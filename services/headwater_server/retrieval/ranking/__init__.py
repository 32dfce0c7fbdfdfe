"""What becomes of a search's hits before anyone sees them: reranked, folded, joined, and said how relevant they are."""
