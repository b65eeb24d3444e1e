"""What this process has loaded: one predictor per model version, opened once."""

import logging
import time

from shared.errors import ModelLoadError
from shared.manifest import Manifest
from worker.model_loader import ModelLoader
from worker.predictor import Predictor

logger = logging.getLogger(__name__)


class ModelCache:
    """Predictors by model version. Belongs to one process; a task never opens a file twice."""

    def __init__(self, loader: ModelLoader) -> None:
        self._loader = loader
        self._predictors: dict[str, Predictor] = {}

    def preload(self) -> None:
        """Open the newest version of every model. One that can't be opened is logged and left
        for its jobs to report, so it never keeps the others from being served."""
        for manifest in self._loader.repository.newest():
            try:
                self._load(manifest)
            except ModelLoadError as error:
                logger.error(
                    "model not loaded", extra={"model": manifest.version_id, "reason": str(error)}
                )

    def get(self, name: str, version: str, *, sha256: str) -> Predictor:
        """The predictor of the version a job was pinned to, opened now if it was not before.

        Raises ModelLoadError or another ModelError when it can't be had.
        """
        predictor = self._predictors.get(f"{name}/{version}")
        if predictor is None or predictor.manifest.artifact.sha256 != sha256:
            predictor = self._load(self._loader.repository.manifest(name, version))
        if predictor.manifest.artifact.sha256 != sha256:
            raise ModelLoadError(
                f"'{name}/{version}' is not the version the job was made for; submit it again."
            )
        return predictor

    def _load(self, manifest: Manifest) -> Predictor:
        began = time.perf_counter()
        predictor = self._loader.load(manifest)
        self._predictors[manifest.version_id] = predictor
        seconds = round(time.perf_counter() - began, 3)
        logger.info("model loaded", extra={"model": manifest.version_id, "seconds": seconds})
        return predictor
