"""Update masks."""

from __future__ import annotations

from collections.abc import Collection

from google.protobuf.field_mask_pb2 import FieldMask

from headwater_server.errors import InvalidRequest


def fields_to_update(mask: FieldMask, *, allowed: Collection[str], present: Collection[str]) -> set[str]:
    """The fields that an update changes.

    Args:
        mask: The request's mask; `*` stands for all that can be changed.
        allowed: The fields that can be changed.
        present: Those of them that are set in the request, which an empty mask stands for.

    Raises:
        InvalidRequest: The mask names another field.
    """
    if not mask.paths:
        return set(present)
    for position, path in enumerate(mask.paths):
        if path != "*" and path not in allowed:
            raise InvalidRequest(
                f"update_mask.paths[{position}]", f"{path!r} cannot be updated; {', '.join(sorted(allowed))} can"
            )
    return set(allowed) if "*" in mask.paths else set(mask.paths)
