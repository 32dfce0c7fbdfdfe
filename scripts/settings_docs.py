"""Writes the tables of docs/settings.md out of the settings themselves.

    python scripts/settings_docs.py            writes them into the page
    python scripts/settings_docs.py --check    exits with 1 if the page is not in step

A setting's meaning is the docstring under its field in `headwater_server.runtime.settings`.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import sys
import textwrap
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from headwater_server.runtime.settings import Settings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
BEGIN = "<!-- made by scripts/settings_docs.py: begin -->"
END = "<!-- made by scripts/settings_docs.py: end -->"

_DEFAULTS = {"data_dir": "the platform's folder for user data, on Linux `~/.local/share/headwater`"}
"""Where a default depends on the machine, what to say of it."""
_KINDS: dict[object, str] = {
    SecretStr: "secret string",
    str: "string",
    int: "integer",
    float: "number",
    bool: "true or false",
    Path: "path",
}
_SIGNS = {Ge: ("ge", "≥"), Gt: ("gt", ">"), Le: ("le", "≤"), Lt: ("lt", "<")}


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of a table."""

    name: str
    kind: str
    default: str
    variable: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the settings file."""

    heading: str
    meaning: str
    settings: Sequence[Setting]


def tables() -> Iterator[Table]:
    """All tables, that of the top level first."""
    yield Table("Top level", "Above all tables in the file.", list(_rows(Settings, ())))
    for name, field in Settings.model_fields.items():
        if (model := _table_of(field.annotation)) is not None:
            yield Table(f"`[{name}]`", _first_line(model), list(_rows(model, (name,))))
        elif (model := _named_table_of(field.annotation)) is not None:
            yield Table(f"`[{name}.NAME]`", _first_line(model), list(_rows(model, (name, "NAME"))))


def markdown() -> str:
    """The tables as Markdown."""
    parts = []
    for table in tables():
        parts += [f"### {table.heading}", "", table.meaning, "", "| setting | type | default | environment | meaning |"]
        parts += ["|---|---|---|---|---|", *map(_row, table.settings), ""]
    return "\n".join(parts)


def updated(page: str) -> str:
    """The page with its tables made anew.

    Raises:
        ValueError: The page has no place for them.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks {BEGIN if not begin else END}")
    return f"{before}{BEGIN}\n\n{markdown()}\n{END}{after}"


def _rows(model: type[BaseModel], path: tuple[str, ...]) -> Iterator[Setting]:
    meanings = _docstrings(model)
    for name, field in model.model_fields.items():
        if (_table_of(field.annotation) or _named_table_of(field.annotation)) is not None:
            continue  # has a table of its own
        mapping = get_origin(field.annotation) is dict
        keys = (*path, name, *(["NAME"] if mapping else []))
        yield Setting(
            name=f"{name}.NAME" if mapping else name,
            kind=_kind(field.annotation, field.metadata),
            default=_default(name, field),
            variable="HEADWATER_" + "__".join(key.upper() for key in keys),
            meaning=meanings[name],
        )


def _docstrings(model: type[BaseModel]) -> dict[str, str]:
    """The string under each field of a class."""
    body = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]
    if not isinstance(body, ast.ClassDef):
        raise TypeError(f"{model} is not a class")
    found = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = " ".join(text.split())
            case _:
                pass
    return found


def _table_of(annotation: Any) -> type[BaseModel] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _named_table_of(annotation: Any) -> type[BaseModel] | None:
    return _table_of(get_args(annotation)[1]) if get_origin(annotation) is dict else None


def _first_line(model: type[BaseModel]) -> str:
    return (inspect.getdoc(model) or "").splitlines()[0]


def _kind(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """A type in words, with its bounds."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(arguments[0], [*_constraints(arguments[1:]), *metadata])
    if origin in {Union, types.UnionType}:
        return _kind(next(each for each in arguments if each is not type(None)), metadata)
    if origin is Literal:
        return " or ".join(f"`{each}`" for each in arguments)
    if origin is tuple:
        return "list of strings"
    if origin is dict:
        return _kind(arguments[1])
    return ", ".join([_KINDS[annotation], *_bounds(_constraints(metadata))])


def _constraints(metadata: Sequence[Any]) -> list[Any]:
    return [item for each in metadata for item in (each.metadata if isinstance(each, FieldInfo) else [each])]


def _bounds(constraints: Sequence[Any]) -> Iterator[str]:
    for constraint in constraints:
        attribute, sign = _SIGNS[type(constraint)]
        value = getattr(constraint, attribute)
        yield f"{sign} {value:,}" if isinstance(value, int) else f"{sign} {value:g}"


def _default(name: str, field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if name in _DEFAULTS:
        return _DEFAULTS[name]
    value = field.get_default(call_default_factory=True)
    if value is None or value in ("", {}, ()):
        return "unset" if value is None else "empty" if value == "" else "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`"


def _row(setting: Setting) -> str:
    cells = [f"`{setting.name}`", setting.kind, setting.default, f"`{setting.variable}`", setting.meaning]
    return "| " + " | ".join(re.sub(r"\|", r"\\|", cell) for cell in cells) + " |"


def main() -> int:
    """Runs the program; returns its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say whether the page is in step")
    check = parser.parse_args().check
    page = PAGE.read_text(encoding="utf-8")
    wanted = updated(page)
    if check and page != wanted:
        print("docs/settings.md is not in step with the settings: run python scripts/settings_docs.py", file=sys.stderr)
        return 1
    if not check:
        PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
