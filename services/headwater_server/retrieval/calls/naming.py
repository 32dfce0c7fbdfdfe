"""The resource names that the protos' rules cannot check, because messages share them."""

from __future__ import annotations

import re

_CORPUS = r"corpora/[A-Za-z0-9][A-Za-z0-9._~-]{0,62}"

CORPUS_NAME = re.compile(_CORPUS)
"""`corpora/{corpus}`."""

DOCUMENT_NAME = re.compile(_CORPUS + r"/documents/[A-Za-z0-9][A-Za-z0-9._~-]{0,127}")
"""`corpora/{corpus}/documents/{document}`."""
