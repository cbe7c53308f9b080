"""What it costs in bits to add up the products of one output value."""

from typing import Literal

Accumulator = Literal["adder_tree", "fixed_length", "capped_16", "fp16", "fp32"]


def accumulation_bits(terms: int, product_bits: int, accumulator: Accumulator) -> int:
    """Return the summed width of all additions that reduce `terms` products to one value.

    Args:
        terms: number of products, from 0; n of them take n - 1 additions.
        product_bits: width of one product.
        accumulator: `adder_tree` adds pairs, and a sum is one bit wider than its terms;
            `fixed_length` adds at the width in which nothing can overflow; `capped_16` likewise,
            16 bits at most; `fp16` and `fp32` add at 16 and 32 bits.

    Source: the accounting of Wang et al., MicroNet Challenge 2019 (models a to e).
    """
    if terms < 2:
        return 0
    if accumulator == "adder_tree":
        return _adder_tree_bits(terms, product_bits)
    return (terms - 1) * _width(terms, product_bits, accumulator)


def _width(terms: int, product_bits: int, accumulator: Accumulator) -> int:
    fitting = product_bits + (terms - 1).bit_length()
    widths = {"fixed_length": fitting, "capped_16": min(fitting, 16), "fp16": 16, "fp32": 32}
    return widths[accumulator]


def _adder_tree_bits(terms: int, width: int) -> int:
    total = 0
    while terms > 1:
        total += terms // 2 * width
        terms -= terms // 2
        width += 1
    return total
