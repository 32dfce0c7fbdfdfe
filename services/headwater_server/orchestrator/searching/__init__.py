"""What an answer rests on, and the query that it is searched with."""
