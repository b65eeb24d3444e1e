"""From a version on disk to a predictor that is ready to score."""

import sklearn

from shared.manifest import ArtifactFormat, Manifest
from shared.model_repository import ModelRepository
from shared.settings import MismatchPolicy
from worker.artifact_loader import load_artifact
from worker.predictor import Predictor

OF_SCIKIT_LEARN = frozenset({ArtifactFormat.SKOPS, ArtifactFormat.JOBLIB})


class ModelLoader:
    """Opens model versions of one repository. Keeps nothing."""

    def __init__(
        self,
        repository: ModelRepository,
        *,
        allow_pickle: bool,
        on_mismatch: MismatchPolicy = MismatchPolicy.REFUSE,
    ) -> None:
        self.repository = repository
        self._allow_pickle = allow_pickle
        self._on_mismatch = on_mismatch

    def load(self, manifest: Manifest) -> Predictor:
        """The predictor of a version. Raises ModelError in all its kinds."""
        path = self.repository.artifact_path(manifest)
        estimator = load_artifact(
            path, manifest, allow_pickle=self._allow_pickle, on_mismatch=self._on_mismatch
        )
        return Predictor(estimator, manifest, warning=_mismatch(manifest))


def _mismatch(manifest: Manifest) -> str:
    """What to say of a model that was trained under another version; empty for others."""
    trained_under = manifest.libraries.get("scikit-learn", sklearn.__version__)
    if manifest.artifact.format not in OF_SCIKIT_LEARN or trained_under == sklearn.__version__:
        return ""
    return (
        f"Model '{manifest.version_id}' was trained under scikit-learn {trained_under} and is "
        f"served by {sklearn.__version__}; its predictions may be others."
    )
