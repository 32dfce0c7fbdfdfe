"""The index: what search runs on, derived from the truth, in a process of its own."""
