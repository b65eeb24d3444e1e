"""Ranking metrics: how many of the titles that users turned out to like are recommended."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def recall_and_ndcg(
    recommended: NDArray[np.object_], users: NDArray[np.int64], liked: pd.DataFrame
) -> tuple[float, float]:
    """Mean recall@k and NDCG@k over `users`.

    `recommended` has one row of k titles per user, the best first. `liked` has one row per pair of
    userId and title to be found; every user must have one. NDCG as in Järvelin and Kekäläinen,
    "Cumulated gain-based evaluation of IR techniques" (2002), with gains of 0 and 1.
    """
    k = recommended.shape[1]
    pairs = pd.MultiIndex.from_arrays([np.repeat(users, k), recommended.ravel()])
    hits = pairs.isin(pd.MultiIndex.from_frame(liked[["userId", "title"]])).reshape(-1, k)
    wanted = liked.groupby("userId").size().reindex(users).to_numpy()
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discounts)[np.minimum(wanted, k) - 1]
    return float((hits.sum(axis=1) / wanted).mean()), float((hits @ discounts / ideal).mean())
