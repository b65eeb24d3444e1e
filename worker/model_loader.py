"""From a version on disk to a predictor that is ready to score."""

from shared.manifest import Manifest
from shared.model_repository import ModelRepository
from worker.artifact_loader import load_artifact
from worker.predictor import Predictor


class ModelLoader:
    """Opens model versions of one repository. Keeps nothing."""

    def __init__(self, repository: ModelRepository, *, allow_pickle: bool) -> None:
        self.repository = repository
        self._allow_pickle = allow_pickle

    def load(self, manifest: Manifest) -> Predictor:
        """The predictor of a version. Raises ModelError in all its kinds."""
        path = self.repository.artifact_path(manifest)
        estimator = load_artifact(path, manifest, allow_pickle=self._allow_pickle)
        return Predictor(estimator, manifest)
