"""What is installed: the first thing a report of a problem needs."""

from __future__ import annotations

import platform
from importlib import metadata

import jax

from ._version import __version__

_NEEDED = ("jax", "jaxlib", "jaxopt", "formulaic", "pandas", "numpy", "scipy", "tqdm")
_OPTIONAL = ("matplotlib", "pyarrow", "pyreadstat", "rdata", "great_tables", "dask", "distributed")


def show_versions() -> None:
    """Print the versions of remlax, Python, its libraries and extras, and the devices that JAX sees.

    Examples
    --------
    >>> import remlax as rx
    >>> rx.show_versions()  # doctest: +ELLIPSIS
    remlax        ...
    Python        ...
    """
    lines = [("remlax", __version__), ("Python", platform.python_version()), ("system", platform.platform())]
    lines += [(name, _version(name) or "missing") for name in _NEEDED]
    lines += [(name, _version(name) or "not installed") for name in _OPTIONAL]
    lines.append(("devices", ", ".join(f"{d.platform}:{d.id} {d.device_kind}" for d in jax.devices())))
    print("\n".join(f"{name:<13} {value}" for name, value in lines))


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
