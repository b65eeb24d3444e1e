"""What this process has loaded: one predictor per model version, opened once."""

import logging
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping
from weakref import WeakKeyDictionary

from shared.errors import ModelError, ModelLoadError
from shared.manifest import Manifest, Member
from worker import heap
from worker.metrics import WorkerMetrics
from worker.model_loader import ModelLoader
from worker.predictor import Predictor

logger = logging.getLogger(__name__)


class ModelCache:
    """Predictors by model version. Belongs to one process; a task never opens a file twice.

    Safe to share by threads, though a predictor is not.
    """

    def __init__(
        self, loader: ModelLoader, *, max_bytes: int, metrics: WorkerMetrics | None = None
    ) -> None:
        """`max_bytes`: of memory that what is kept takes. The versions that were not used for
        longest are given up for others; one alone may be larger.

        It holds for what is preloaded, and once more for what a process forked afterwards opens by
        itself: to give up what it shares would return nothing."""
        self._loader = loader
        self._max_bytes = max_bytes
        self._metrics = metrics or WorkerMetrics()
        self._predictors: OrderedDict[str, Predictor] = OrderedDict()
        self._sizes: WeakKeyDictionary[Predictor, Mapping[str, int]] = WeakKeyDictionary()
        self._shared: set[str] = set()
        self._lock = threading.Lock()
        self._opening: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    @property
    def version_ids(self) -> list[str]:
        """What is loaded, the version that was not used for longest first."""
        with self._lock:
            return list(self._predictors)

    def preload(self, manifests: Iterable[Manifest]) -> None:
        """Open these versions, to be shared by processes forked afterwards.

        One that can't be opened is logged and left for its jobs to report, so it never keeps the
        others from being served.
        """
        for manifest in manifests:
            try:
                self._load(manifest)
            except ModelError as error:
                logger.error(
                    "model not loaded", extra={"model": manifest.version_id, "reason": str(error)}
                )
        self._shared.update(self._predictors)

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
        """Open a version and keep it. Raises ModelError."""
        try:
            predictor = self._open(manifest)
        except ModelError:
            self._metrics.model_loads.labels(manifest.name, "failed").inc()
            raise
        self._metrics.model_loads.labels(manifest.name, "loaded").inc()
        return predictor

    def _open(self, manifest: Manifest) -> Predictor:
        began = time.perf_counter()
        members: list[Predictor] = []

        def opened(member: Member) -> Predictor:
            members.append(self._member(member))
            return members[-1]

        predictor = self._loader.load(manifest, opened=opened)
        # An ensemble keeps its members in memory for as long as it is there itself.
        sizes = {manifest.version_id: predictor.memory_bytes}
        for member in members:
            sizes |= self._sizes[member]
        with self._lock:
            self._sizes[predictor] = sizes
            self._keep(predictor)
        heap.give_back()
        seconds = round(time.perf_counter() - began, 3)
        logger.info("model loaded", extra={"model": manifest.version_id, "seconds": seconds})
        return predictor

    def _member(self, member: Member) -> Predictor:
        """A version that is part of an ensemble, which shares it with those who use it alone."""
        return self.get(member.name, member.version, sha256=member.sha256)

    def _keep(self, predictor: Predictor) -> None:
        version_id = predictor.manifest.version_id
        self._shared.discard(version_id)
        self._predictors[version_id] = predictor
        self._touch(predictor)
        own = [one for one in self._predictors if one not in self._shared]
        others = [one for one in own if one != version_id]
        while others and self._bytes(own) > self._max_bytes:
            oldest = others.pop(0)
            own.remove(oldest)
            del self._predictors[oldest]
            logger.info("model given up", extra={"model": oldest})
        self._metrics.cache_bytes.set(self._bytes(own))
        self._metrics.cache_versions.set(len(self._predictors))

    def _bytes(self, version_ids: Iterable[str]) -> int:
        """What these take of the process's own memory, by all versions that they hold."""
        held: dict[str, int] = {}
        for version_id in version_ids:
            held |= self._sizes[self._predictors[version_id]]
        return sum(size for part, size in held.items() if part not in self._shared)
