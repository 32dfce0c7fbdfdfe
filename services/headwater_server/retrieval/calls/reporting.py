"""From the errors of the catalog and the store to those that callers see."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from headwater_server.errors import Overloaded, Reason, ResourceNotFound, ServiceError
from headwater_server.retrieval.catalog import CatalogFull, CorpusMissing, DocumentMissing, RequestIdReused
from headwater_server.retrieval.store.protocol import CorpusUnknown, StoreFull, StoreUnavailable

_RETRY_SECONDS = 1.0


@contextmanager
def reported(resource: str) -> Iterator[None]:
    """Turns failures into the errors of `headwater_server.errors`.

    Args:
        resource: The name of what the call is about, for NOT_FOUND.
    """
    try:
        yield
    except (CatalogFull, StoreFull) as error:
        raise disk_full() from error
    except (CorpusMissing, CorpusUnknown) as error:
        # A document's parent is missing before the document is.
        raise ResourceNotFound("/".join(resource.split("/")[:2])) from error
    except DocumentMissing as error:
        raise ResourceNotFound(resource) from error
    except RequestIdReused as error:
        raise ServiceError(Reason.REQUEST_ID_REUSED, f"{error}: send a new one") from error
    except StoreUnavailable as error:
        raise store_unavailable() from error


def store_unavailable() -> ServiceError:
    """The store cannot be reached."""
    return Overloaded("the store cannot be reached now", retry_after=_RETRY_SECONDS)


def disk_full() -> ServiceError:
    """There is no room on the disk."""
    return ServiceError(
        Reason.QUOTA_EXCEEDED,
        "there is no room on the server's disk; nothing was stored",
        metadata={"quota": "disk"},
    )
