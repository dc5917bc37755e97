"""Who is photographed: ages, sexes, ancestries and builds of the people."""

from dataclasses import replace

import numpy as np
from numpy.random import Generator

from facerecon.morphable.head import HeadGenerator, HeadIdentity
from facerecon.synthesis.randomness import chance

CHILDREN, OLD = 0.12, 0.14  # shares of people under 18 and over 65 years
YOUNGEST, OLDEST = 4.0, 90.0
# Mixed ancestries crowd skin tones in the middle: their spread about the median is widened on a logarithmic scale.
MEDIAN_MELANIN, EVEN_MEDIAN, WIDENING = 0.73, 0.55, 1.6
LEAST_MELANIN, MOST_MELANIN = 0.04, 2.4


def sample_identity(rng: Generator, generator: HeadGenerator) -> HeadIdentity:
    """A person of any age from 4 to 90 years, of both sexes in equal numbers, thin to heavy.

    Most faces are less pronounced than the generator's own; sexes are nearly always told apart.
    """
    identity = generator.sample_identity(rng)
    draw = rng.random()
    if draw < CHILDREN:
        age = rng.uniform(YOUNGEST, 18.0)
    elif draw < 1.0 - OLD:
        age = rng.uniform(18.0, 65.0)
    else:
        age = rng.uniform(65.0, OLDEST)
    weight = rng.beta(0.8, 0.8) if chance(rng, 0.3) else rng.beta(2.5, 2.5)
    sex = rng.beta(0.25, 0.25)
    pronounced = rng.uniform(0.55, 1.0)
    return replace(
        identity,
        sex=float(np.clip(sex, 0.0, 1.0)),
        age=float(age),
        weight=float(weight),
        local=identity.local * pronounced,
        asymmetry=identity.asymmetry * pronounced,
    )


def even_melanin(melanin: float) -> float:
    """Melanin of a person from what `sample_skin` drew: tones from very fair to very dark come out about evenly."""
    widened = EVEN_MEDIAN * (melanin / MEDIAN_MELANIN) ** WIDENING
    return float(np.clip(widened, LEAST_MELANIN, MOST_MELANIN))
