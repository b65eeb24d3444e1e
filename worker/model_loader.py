"""From a version on disk to a predictor that is ready to score."""

from shared.errors import ModelError, ModelLoadError
from shared.manifest import Ensemble, Manifest, Member
from shared.model_repository import ModelRepository
from shared.signature import Signature
from worker.artifact_loader import load_artifact
from worker.ensemble_model import EnsembleModel, assembled
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
        if isinstance(estimator, Ensemble):
            if estimator != manifest.ensemble:
                raise ModelLoadError(
                    f"The artifact of '{manifest.version_id}' names other members than its "
                    "manifest; publish it again."
                )
            estimator = self.assemble(estimator, manifest.signature)
        return Predictor(estimator, manifest)

    def assemble(self, ensemble: Ensemble, signature: Signature) -> EnsembleModel:
        """What answers for all members, which are opened now.

        Raises ModelLoadError that names a member that is gone, was changed or can't be opened.
        """
        return assembled(
            ensemble,
            [self._member(member) for member in ensemble.members],
            signature=signature,
            final=self._member(ensemble.final) if ensemble.final else None,
        )

    def _member(self, member: Member) -> Predictor:
        try:
            manifest = self.repository.manifest(member.name, member.version)
            if manifest.artifact.sha256 != member.sha256:
                raise ModelLoadError(
                    "It is not the one that the ensemble was made of; publish the ensemble again."
                )
            return self.load(manifest)
        except ModelError as error:
            raise ModelLoadError(
                f"Member '{member.version_id}' can't be opened. {error}"
            ) from error
