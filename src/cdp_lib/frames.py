"""DataFrame → DataFrame: what more than one module does with whole frames."""

from collections.abc import Sequence

from pyspark.sql import DataFrame


def union(frames: Sequence[DataFrame]) -> DataFrame:
    """The rows of all; a plan that is as flat as can be, however many there are.

    >>> union([spark.range(2), spark.range(3), spark.range(4)]).count()
    9
    """
    if len(frames) == 1:
        return frames[0]
    half = len(frames) // 2
    return union(frames[:half]).unionByName(union(frames[half:]))


def worked_out(rows: DataFrame) -> DataFrame:
    """The rows, worked out now: what is read twice in a plan is otherwise worked out twice.

    Args:
        rows: Few rows, such as sums by month: they are held in memory.
    """
    return rows.sparkSession.createDataFrame(rows.toArrow(), rows.schema)
