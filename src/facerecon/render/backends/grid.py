"""The grid that vertices are rounded to before they are rasterised."""

import math


def grid_steps(height: int, width: int) -> float:
    """Grid steps a pixel, a power of two, to which vertices are rounded before they are rasterised.

    With coordinates within twice the image's size, differences have at most 26 bits and the difference of two products
    53, which float64 holds exactly.
    """
    bits_before_point = math.ceil(math.log2(2 * max(height, width)))
    return 2.0 ** (25 - bits_before_point)
