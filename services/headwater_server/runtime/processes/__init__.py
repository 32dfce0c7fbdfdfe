"""One server in several processes: a parent that keeps the others running, and what these know of each other."""
