"""Check the shapes that kernels and pooling promise in their annotations, while the tests run."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import jax
import jaxtyping
import numpy as np
from beartype import beartype
from beartype.door import is_bearable
from beartype.vale import Is


def install() -> None:
    """Decorate the functions of both rooms as they are imported; call it before remlax is."""
    jaxtyping.install_import_hook(["remlax.kernels", "remlax.pooling"], "shape_checks.check")


def shaped(hint: Any) -> bool:
    """Whether there is a shape in a hint, or in the fields of a record that it names."""
    return "jaxtyping" in repr(hint) or bool(fields_of(hint)) or any(map(shaped, get_args(hint)))


def fields_of(kind: Any) -> dict[str, Any]:
    """Fields of a named tuple that have shapes."""
    if not hasattr(kind, "_fields"):
        return {}
    hints = get_type_hints(kind).items()
    return {name: on_host_or_device(hint) for name, hint in hints if "jaxtyping" in repr(hint)}


def on_host_or_device(hint: Any) -> Any:
    """The same shapes and kinds of numbers, of JAX or of NumPy; a named tuple with those of its fields."""
    if isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray):
        return hint.dtype[Any, hint.dim_str]
    fields = fields_of(hint)
    if fields:
        return Annotated[hint, Is[lambda one: all(is_bearable(getattr(one, name), fields[name]) for name in fields)]]
    parts = tuple(on_host_or_device(part) for part in get_args(hint))
    return get_origin(hint)[parts] if parts else hint


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check annotations that are shapes; other arguments are for the functions themselves to refuse."""
    hints = {name: on_host_or_device(hint) for name, hint in function.__annotations__.items() if shaped(hint)}
    if not hints:
        return function
    function.__annotations__ = hints
    checked = beartype(function)
    if function.__name__ != "__init__":
        return checked
    signature = inspect.signature(function)

    @functools.wraps(function)
    def record(*args: Any, **kwargs: Any) -> Any:
        # JAX fills records with what is no array, too: axes, shardings, places of leaves
        given = signature.bind(*args, **kwargs).arguments
        leaves = jax.tree.leaves([given[name] for name in hints if name in given], is_leaf=lambda leaf: leaf is None)
        arrays = all(isinstance(leaf, jax.Array | np.ndarray) for leaf in leaves)
        return (checked if arrays else function)(*args, **kwargs)

    return record
