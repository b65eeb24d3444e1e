"""What a model was trained on, feature by feature, and what it makes of that: what new input and
its predictions are compared with."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]


class FeatureStatistics(BaseModel):
    """One feature in the sample that its model was published with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    missing: Share
    """Share of rows without a value."""
    mean: float | None = None
    """Mean of the values; numbers only."""
    quantiles: tuple[float, ...] = ()
    """The minimum, the nine deciles and the maximum of the values; numbers only."""
    shares: tuple[Share, ...] = ()
    """Shares of the values in the bins between `edges`, each with its upper edge: (-inf, edges[0]],
    (edges[0], edges[1]], …, (edges[-1], inf)."""
    categories: dict[str, Share] = {}
    """Shares of the values, of texts with few different ones and of booleans."""

    @property
    def edges(self) -> tuple[float, ...]:
        """The different ones of the nine deciles, rising."""
        return tuple(sorted(set(self.quantiles[1:-1])))


class PredictionStatistics(BaseModel):
    """One column of what a model itself makes of the sample that it was published with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    quantiles: tuple[float, ...] = ()
    """The minimum, every second percentile and the maximum; numbers only."""
    categories: dict[str, Share] = {}
    """Shares of the values as results write them, of texts, booleans and few whole numbers."""


class TrainingStatistics(BaseModel):
    """The sample that a model was published with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: Annotated[int, Field(ge=1)]
    features: tuple[FeatureStatistics, ...]
    """In the order of the signature's features."""
    predictions: tuple[PredictionStatistics, ...] = ()
    """In the order of the columns of `predict`, as far as they are kept; empty for a model without
    it and for a version of an earlier Rowmill."""
    background: tuple[float, ...] = ()
    """Means of what the final estimator of a linear model gets, from which contributions are
    counted; empty where there is no need."""
