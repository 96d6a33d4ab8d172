"""Which results may stand in one plot."""

import pandas as pd


def group_names(frame: pd.DataFrame) -> "pd.Series[str]":
    """What may stand in one plot: a dataset, and test conditions without their digest."""
    return frame["dataset"].astype(str) + " · " + frame["conditions"].astype(str).str.split("/").str[0]
