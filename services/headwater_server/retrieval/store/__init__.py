"""The store: passages with their vectors, and the search over them."""
