"""What this process has loaded: one predictor per model version, opened once."""

import logging
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Iterable

from shared.errors import ModelError, ModelLoadError
from shared.manifest import Manifest, Member
from worker.model_loader import ModelLoader
from worker.predictor import Predictor

logger = logging.getLogger(__name__)


class ModelCache:
    """Predictors by model version. Belongs to one process; a task never opens a file twice.

    Safe to share by threads, though a predictor is not.
    """

    def __init__(self, loader: ModelLoader, *, max_bytes: int) -> None:
        """`max_bytes`: of the files of what is kept, which take about as much memory. The versions
        that were not used for longest are given up for others; one alone may be larger."""
        self._loader = loader
        self._max_bytes = max_bytes
        self._predictors: OrderedDict[str, Predictor] = OrderedDict()
        self._lock = threading.Lock()
        self._opening: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    @property
    def version_ids(self) -> list[str]:
        """What is loaded, the version that was not used for longest first."""
        with self._lock:
            return list(self._predictors)

    def preload(self, manifests: Iterable[Manifest]) -> None:
        """Open these versions. One that can't be opened is logged and left for its jobs to report,
        so it never keeps the others from being served."""
        for manifest in manifests:
            try:
                self._load(manifest)
            except ModelError as error:
                logger.error(
                    "model not loaded", extra={"model": manifest.version_id, "reason": str(error)}
                )

    def get(self, name: str, version: str, *, sha256: str) -> Predictor:
        """The predictor of the version a job was pinned to, opened now if it was not before.

        Raises ModelLoadError or another ModelError when it can't be had.
        """
        version_id = f"{name}/{version}"
        predictor = self._loaded(version_id, sha256)
        if predictor is None:
            with self._opening[version_id]:
                # Another thread may have opened it while this one waited.
                predictor = self._loaded(version_id, sha256)
                predictor = predictor or self._load(self._pinned(name, version, sha256))
        return predictor

    def _pinned(self, name: str, version: str, sha256: str) -> Manifest:
        """The manifest on disk, if it is still the one a job was made for."""
        manifest = self._loader.repository.manifest(name, version)
        if manifest.artifact.sha256 != sha256:
            raise ModelLoadError(
                f"'{manifest.version_id}' is not the version the job was made for; submit it again."
            )
        return manifest

    def _loaded(self, version_id: str, sha256: str) -> Predictor | None:
        with self._lock:
            predictor = self._predictors.get(version_id)
            if predictor is None or predictor.manifest.artifact.sha256 != sha256:
                return None
            self._touch(predictor)
            return predictor

    def _touch(self, predictor: Predictor) -> None:
        """Note that it is in use, and with an ensemble its members, which go after it."""
        version_ids = [predictor.manifest.version_id]
        if ensemble := predictor.manifest.ensemble:
            version_ids += [member.version_id for member in ensemble.members]
        for version_id in version_ids:
            if version_id in self._predictors:
                self._predictors.move_to_end(version_id)

    def _load(self, manifest: Manifest) -> Predictor:
        began = time.perf_counter()
        predictor = self._loader.load(manifest, opened=self._member)
        with self._lock:
            self._predictors[manifest.version_id] = predictor
            self._touch(predictor)
            self._give_up_old_ones()
        seconds = round(time.perf_counter() - began, 3)
        logger.info("model loaded", extra={"model": manifest.version_id, "seconds": seconds})
        return predictor

    def _member(self, member: Member) -> Predictor:
        """A version that is part of an ensemble, which shares it with those who use it alone."""
        return self.get(member.name, member.version, sha256=member.sha256)

    def _give_up_old_ones(self) -> None:
        sizes = {v: p.manifest.artifact.bytes for v, p in self._predictors.items()}
        while len(sizes) > 1 and sum(sizes.values()) > self._max_bytes:
            oldest = next(iter(sizes))
            del sizes[oldest], self._predictors[oldest]
            logger.info("model given up", extra={"model": oldest})
