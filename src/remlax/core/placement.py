"""Where lanes run: the devices of one mesh, each with its own share of every chunk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ..errors import DeviceError

T = TypeVar("T")
LANES = "lanes"
Device: TypeAlias = str | jax.Device | Sequence[jax.Device] | Mesh

SHARED = PartitionSpec()  # type: ignore[no-untyped-call]
SPLIT = PartitionSpec(LANES)  # type: ignore[no-untyped-call]


def lane_mesh(device: Device | None) -> Mesh | None:
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
    >>> lane_mesh("cpu").axis_names
    ('lanes',)
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
    return Mesh(np.array(found), (LANES,))


def place(mesh: Mesh | None, lanes: Any, index: Any) -> tuple[Any, Any]:
    """Put arrays with a leading lane axis in equal shares on the devices, and the index on every one."""
    if mesh is None:
        return lanes, index
    return (
        jax.device_put(lanes, NamedSharding(mesh, SPLIT)),
        jax.device_put(index, NamedSharding(mesh, SHARED)),
    )


def over_lanes(kernel: Callable[..., T], mesh: Mesh | None = None) -> Callable[..., T]:
    """Map a kernel of (theta, index, values) over lanes; the index is shared.

    On a mesh every device maps its own lanes, so that its loops end with its own lanes and nothing is exchanged.
    """
    mapped: Callable[..., T] = jax.vmap(kernel, in_axes=(0, None, 0))
    if mesh is None:
        return mapped
    # no values are exchanged, so there is nothing to check
    shared: Callable[..., T] = jax.shard_map(
        mapped, mesh=mesh, in_specs=(SPLIT, SHARED, SPLIT), out_specs=SPLIT, check_vma=False
    )
    return shared
