"""What servers of embeddings want to be asked, and how they answer: one module an API, without any network."""
