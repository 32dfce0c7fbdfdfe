"""Where what is in the folder of a retrieval service."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of a retrieval service, in the folder that `open_retrieval` was given."""

    root: Path

    @classmethod
    def of_data_folder(cls, data_dir: Path) -> Layout:
        """The retrieval service's part of a whole data folder."""
        return cls(data_dir / "retrieval")

    @property
    def catalog(self) -> Path:
        """The catalog's database."""
        return self.root / "catalog.sqlite"

    @property
    def contents(self) -> Path:
        """The documents' bytes."""
        return self.root / "contents"

    @property
    def store(self) -> Path:
        """The store's folder."""
        return self.root / "store"

    @property
    def truth(self) -> Path:
        """The store's database."""
        return self.store / "truth.sqlite3"

    @property
    def index(self) -> Path:
        """The store's index, which is derived from its database."""
        return self.store / "index"


class MaintenanceError(Exception):
    """What was asked for cannot be done; the message says why, and what to do. Nothing was changed."""
