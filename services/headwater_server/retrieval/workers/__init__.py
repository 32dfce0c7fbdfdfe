"""Worker processes: where documents are read and embedded, so that neither a crash nor the work reaches the service.

The workers are our own and not a pool of a library's, because each needs a channel of its own: a worker that dies in
the middle of a message, or while it holds a lock, must harm no other, and pieces of a result must come as they are
made. A worker is a fresh interpreter (nothing is forked from a process with threads, and the main module is not run
again), in a session of its own, so that Ctrl-C in a terminal does not reach it.

This module stays empty because every worker imports it.
"""
