"""Sizes of axes: integers, and one symbol for the number of images.

torch writes expressions of sizes as constructor calls of sympy; sympy reads them by evaluating
text. Here a symbol is recognised by its form, and nothing else is understood.
"""

import re

from automl_compress.core.json_field import JsonField
from automl_compress.networks.program_file.arguments import read_union

_SYMBOL = re.compile(r"Symbol\('(\w{1,40})'(?:, [a-z]{1,20}=(?:True|False)){0,8}\)")
_INTEGER = re.compile(r"(?:Integer\()?(\d{1,18})\)?")
_SHOWN = 60


def read_size(field: JsonField) -> int | str:
    """Read the size of one axis: a number, or the name of a symbol.

    Raises:
        ModelInvalid: it is an expression of several symbols or of arithmetic.
    """
    kind, value = read_union(field)
    if kind == "as_int":
        return value.integer()
    if kind != "as_expr":
        field.refuse(f"is a size of kind {kind!r}; give as_int or as_expr")
    text = value.get("expr_str").text()
    symbol = _SYMBOL.fullmatch(text)
    if symbol is not None:
        return symbol.group(1)
    number = _INTEGER.fullmatch(text)
    if number is None:
        field.refuse(
            f"is the expression {text[:_SHOWN]!r}; only the number of images may be dynamic "
            "(dynamic_shapes={0: torch.export.Dim('batch')})"
        )
    return int(number.group(1))


def read_input_shape(field: JsonField, most_axes: int) -> tuple[int | None, tuple[int, ...]]:
    """Read the shape of the images.

    Returns:
        The number of images, None for any; and the shape of one image.

    Raises:
        ModelInvalid: another axis than the first is dynamic, or there are too few or many.
    """
    sizes = [read_size(each) for each in field.items()]
    if not 2 <= len(sizes) <= most_axes:
        field.refuse(
            f"has {len(sizes)} axes; a network takes images (B, ...) of 2 to {most_axes} axes"
        )
    batch, *rest = sizes
    shape = tuple(size for size in rest if isinstance(size, int) and size > 0)
    if len(shape) != len(rest):
        field.refuse("has a dynamic or empty axis besides the first; export for one image size")
    return (batch if isinstance(batch, int) else None), shape
