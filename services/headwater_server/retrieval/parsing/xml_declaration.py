"""What XML declares of itself in its first line."""

from __future__ import annotations

import re

_ENCODING = re.compile(rb"""\s*<\?xml[^>]{0,200}?\bencoding\s*=\s*["']([\w.:-]{1,40})["']""")


def declared_charset(content: bytes) -> str:
    """The encoding that an XML file, or an XHTML page, declares; empty if none, or none that ASCII can show."""
    match = _ENCODING.match(content)
    return match[1].decode("ascii") if match else ""
