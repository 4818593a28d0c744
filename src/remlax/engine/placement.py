"""Devices of one mesh, each with its own share of the data sets of every chunk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ..errors import DeviceError

T = TypeVar("T")
SETS = "data sets"
Device: TypeAlias = str | jax.Device | Sequence[jax.Device] | Mesh

SHARED = PartitionSpec()  # type: ignore[no-untyped-call]
SPLIT = PartitionSpec(SETS)  # type: ignore[no-untyped-call]


def device_mesh(device: Device | None) -> Mesh | None:
    """Read what a user names as device: a mesh of one axis, or None for JAX's default device.

    Parameters
    ----------
    device : str, jax.Device, sequence of jax.Device, jax.sharding.Mesh or None
        A platform ("cpu", "gpu", "tpu") means all its devices; of a mesh, all devices are used.

    Raises
    ------
    DeviceError
        There is no such device here, or it is something else.

    Examples
    --------
    >>> device_mesh("cpu").axis_names
    ('data sets',)
    """
    if device is None:
        return None
    if isinstance(device, str):
        try:
            found: list[Any] = jax.devices(device)
        except RuntimeError as error:
            here = ", ".join(str(d) for d in jax.devices())
            raise DeviceError(f"device={device!r}: JAX sees no such device here, only {here}") from error
    elif isinstance(device, Mesh):
        found = list(device.devices.flat)
    elif isinstance(device, Sequence):
        found = list(device)
    else:
        found = [device]
    if not found or not all(isinstance(d, jax.Device) for d in found):
        raise DeviceError(
            f"device={device!r}: give a platform such as 'gpu', a jax.Device, a list of these, or a jax.sharding.Mesh"
        )
    if len({d.platform for d in found}) > 1 or len(set(found)) < len(found):
        raise DeviceError(f"device={device!r}: give different devices of one platform")
    return Mesh(np.array(found), (SETS,))


def place(mesh: Mesh | None, arguments: Any, problem: Any) -> tuple[Any, Any]:
    """Put arrays with a leading axis of data sets in equal shares on the devices, and the index on every one."""
    if mesh is None:
        return arguments, problem
    split, shared = NamedSharding(mesh, SPLIT), NamedSharding(mesh, SHARED)
    products, index = jax.device_put(problem.products, split), jax.device_put(problem.index, shared)
    return jax.device_put(arguments, split), problem.filled(products, index)


def over_sets(kernel: Callable[..., T], problem: Any, mesh: Mesh | None = None) -> Callable[..., T]:
    """Map a kernel of (arguments, problem) over data sets; the index of the problem is shared.

    On a mesh every device maps its own data sets, so that its loops end with its own and nothing is exchanged.
    """
    mapped: Callable[..., T] = jax.vmap(kernel, in_axes=(0, problem.axes))
    if mesh is None:
        return mapped
    # no values are exchanged, so there is nothing to check
    specs = (SPLIT, problem.filled(SPLIT, SHARED))
    shared: Callable[..., T] = jax.shard_map(mapped, mesh=mesh, in_specs=specs, out_specs=SPLIT, check_vma=False)
    return shared
