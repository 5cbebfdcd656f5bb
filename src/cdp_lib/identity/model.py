"""Probabilistic model of identity resolution: evidence that two records belong to one person, after Fellegi and Sunter.

A model compares attributes, such as the first name. Each comparison has levels, such as equal or one typing error, and
each level has two probabilities: m, among pairs of records of one person, and u, among pairs of records of two persons.
The evidence of a level is log2(m / u), in bits. Evidence of all comparisons and the prior add up to the logarithm to
base 2 of the odds that the two records belong to one person.

The prior is evidence too: two records that nothing but a blocking key connects are probably two persons, so their
prior is far below 0. The weight of an identifier in the rules is net of the prior: e-mail addresses of 16 bits alone
reach a `link_weight` of 8. So a pair that shares an identifier has no prior.

Source: I. Fellegi, A. Sunter, A Theory for Record Linkage, 1969. `cdp identity train` trains a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cdp_lib.identity.comparisons import BlockingKey, Comparison


@dataclass(frozen=True)
class TermFrequencies:
    """Frequencies of the values of a column.

    Attributes:
        values: Share of the records with this value, by value. Only the most frequent values.
        rest: Share of the records with the same value, for values that are not listed: the average of these values.
        equal: Share of the pairs of records with the same value.
    """

    values: Mapping[str, float]
    rest: float
    equal: float


@dataclass(frozen=True)
class Model:
    """Trained model.

    Attributes:
        name: Name of the model.
        version: Hash of the model.
        prior: Prior evidence of two records without a shared identifier, in bits, below 0.
        comparisons: Compared attributes.
        blocks: Blocking keys.
        training: Keys of the pairs that the training reads. A comparison learns from the keys without its columns.
        term_frequencies: Frequencies of values, by column.
    """

    name: str
    version: str
    prior: float
    comparisons: tuple[Comparison, ...]
    blocks: tuple[BlockingKey, ...]
    training: tuple[BlockingKey, ...]
    term_frequencies: Mapping[str, TermFrequencies]
