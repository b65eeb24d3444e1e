"""What there is to score with, as far as that can be told: models, and who serves them."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from api.model_documents import Standing, model_document
from api.serving import Serving
from shared.errors import ModelError, StoreError
from shared.job_store.model_reports import ModelReports
from shared.job_store.workers import Capacity, WorkerRegistry
from shared.model_repository import ModelRepository

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class BrokenModel:
    """A model that can't be told of."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """Models are shown while the store can't tell how they do. Safe to share by threads."""

    repository: ModelRepository
    serving: Serving
    reports: ModelReports
    workers: WorkerRegistry

    def models(self) -> Iterator[dict[str, Any] | BrokenModel]:
        """The document of every model by name: one that is broken hides no other."""
        standing = self._standing()
        for name in self.repository.names():
            try:
                yield model_document(self.serving.meant(name), self.repository, standing)
            except ModelError as error:
                logger.warning("model left out", extra={"model": name, "reason": str(error)})
                yield BrokenModel(name=name, reason=str(error))

    def model(self, reference: str) -> dict[str, Any]:
        """The document of the version that a reference means.

        Raises ModelNotFoundError, ManifestError, AliasError.
        """
        return model_document(self.serving.meant(reference), self.repository, self._standing())

    def capacities(self) -> list[Capacity] | None:
        """What the live workers score with; None while the store can't tell."""
        try:
            return list(self.workers.live().values())
        except StoreError:
            return None

    def _standing(self) -> Standing:
        try:
            return Standing.read(self.reports)
        except StoreError:
            return Standing()
