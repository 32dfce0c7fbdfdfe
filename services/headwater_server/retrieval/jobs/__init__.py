"""Import jobs: from a document's bytes in the catalog to passages in the store."""
