"""Keys against a Threefry written in NumPy, and the promises on chunking, order, scenarios and dtypes."""

from __future__ import annotations

import functools
import hashlib
import importlib.machinery
import math
import sys
import types
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from remlax import sim
from remlax.errors import SimulationError
from remlax.simulation.fingerprint import canonical_json, digest, scenario_id
from remlax.simulation.keys import Stream, generator, integer_seed, key, keys, versions

SCENARIO = scenario_id({"J": 30, "icc": 0.1})


def threefry(k: tuple[int, int], x: tuple[int, int]) -> tuple[int, int]:
    """Threefry-2x32, 20 rounds (Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3)."""
    mask = 0xFFFFFFFF
    schedule = (*k, k[0] ^ k[1] ^ 0x1BD11BDA)
    a, b = (x[0] + k[0]) & mask, (x[1] + k[1]) & mask
    for block in range(5):
        for r in ((13, 15, 26, 6), (17, 29, 16, 24))[block % 2]:
            a = (a + b) & mask
            b = ((b << r | b >> (32 - r)) & mask) ^ a
        a = (a + schedule[(block + 1) % 3]) & mask
        b = (b + schedule[(block + 2) % 3] + block + 1) & mask
    return a, b


def test_threefry_known_answer() -> None:
    # the Random123 library's known-answer file
    assert threefry((0, 0), (0, 0)) == (0x6B200159, 0x99BA4EFE)


@pytest.mark.parametrize("seed", [0, 7, 2**40 + 3, 2**64 - 1])
@pytest.mark.parametrize("name", ["", "emb"])
def test_key_is_the_chain_of_hashed_counters(seed: int, name: str) -> None:
    scenario = int(SCENARIO, 16)
    counters = [scenario >> 32, scenario & 0xFFFFFFFF, 123456, int(Stream.METHOD)]
    if name:
        hashed = int(hashlib.blake2s(b'"emb"', digest_size=8).hexdigest(), 16)
        counters += [hashed >> 32, hashed & 0xFFFFFFFF]
    k = (seed >> 32, seed & 0xFFFFFFFF)
    for counter in counters:
        k = threefry(k, (0, counter))
    found = key(seed, SCENARIO, 123456, Stream.METHOD, name)
    assert tuple(jax.random.key_data(found).tolist()) == k
    assert integer_seed(found) == k[0] * 2**32 + k[1]


def test_keys_do_not_depend_on_chunks_order_or_x64() -> None:
    whole = jax.random.key_data(keys(3, SCENARIO, range(100), Stream.DATA))
    for size in (1, 7, 64):
        parts = [keys(3, SCENARIO, range(i, min(i + size, 100)), Stream.DATA) for i in range(0, 100, size)]
        assert jnp.array_equal(jnp.concatenate([jax.random.key_data(part) for part in parts]), whole)
    order = np.random.default_rng(0).permutation(100)
    assert jnp.array_equal(jax.random.key_data(keys(3, SCENARIO, order, Stream.DATA)), whole[order])
    with jax.enable_x64(True):
        assert np.array_equal(jax.random.key_data(keys(3, SCENARIO, range(100), Stream.DATA)), whole)


@pytest.mark.parametrize(
    "draw", ["normal", *(pytest.param(law, marks=pytest.mark.slow) for law in ("gamma", "t")), "permutation"]
)
def test_draws_are_bitwise_equal_however_replications_are_chunked(draw: str) -> None:
    function = {
        "normal": lambda k: jax.random.normal(k, (40,), dtype=jnp.float64),
        "gamma": lambda k: jax.random.gamma(k, 2.5, (40,), dtype=jnp.float64),
        "t": lambda k: jax.random.t(k, 5.0, (40,), dtype=jnp.float64),
        "permutation": lambda k: jax.random.permutation(k, 40),
    }[draw]
    batch = jax.jit(jax.vmap(function))
    with jax.enable_x64(True):
        whole = np.asarray(batch(keys(3, SCENARIO, range(28), Stream.DATA)))
        for size in (1, 7):
            parts = [batch(keys(3, SCENARIO, range(i, i + size), Stream.DATA)) for i in range(0, 28, size)]
            assert np.array_equal(np.concatenate(parts), whole)


def test_streams_methods_scenarios_and_seeds_differ() -> None:
    other = scenario_id({"J": 30, "icc": 0.2})
    made = [key(3, SCENARIO, 0, stream) for stream in Stream]
    made += [key(3, SCENARIO, 0, Stream.METHOD, name) for name in ("a", "b")]
    made += [
        key(3, other, 0, Stream.DATA),
        key(4, SCENARIO, 0, Stream.DATA),
        key(3, SCENARIO, 1, Stream.DATA),
    ]
    assert len({integer_seed(k) for k in made}) == len(made)
    assert generator(made[3]).normal() != generator(made[4]).normal()


def test_keys_ignore_the_users_default_generator() -> None:
    expected = integer_seed(key(3, SCENARIO, 5, Stream.DATA))
    with jax.default_prng_impl("rbg"):
        assert integer_seed(key(3, SCENARIO, 5, Stream.DATA)) == expected


def test_versions_name_what_draws_depend_on() -> None:
    found = versions()
    assert found["jax"] == jax.__version__
    assert found["threefry_partitionable"] == "True"
    assert all(isinstance(value, str) for value in found.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, SCENARIO, [0]), "seed=-1 must be a whole number of at least 0"),
        ((2**64, SCENARIO, [0]), r"seed=18446744073709551616 must be less than 2\*\*64"),
        ((1, "3", [0]), "not a scenario's name"),
        ((1, SCENARIO, [-1]), "numbered from 0"),
        ((1, SCENARIO, [2**32]), "numbered from 0"),
    ],
)
def test_mistakes_are_named(arguments: tuple[int, str, list[int]], message: str) -> None:
    with pytest.raises(SimulationError, match=message):
        keys(*arguments, Stream.DATA)


def test_scenario_id_is_blake2s_of_sorted_json() -> None:
    expected = hashlib.blake2s(b'{"J":30,"icc":0.1,"kind":"t"}', digest_size=8).hexdigest()
    assert scenario_id({"kind": "t", "icc": 0.1, "J": 30}) == expected
    assert scenario_id({"icc": np.float64(0.1), "J": np.int64(30), "kind": np.str_("t")}) == expected
    assert scenario_id({"icc": 0.1, "J": 30.0, "kind": "t"}) == expected


def test_canonical_json_tells_values_apart() -> None:
    values = [0, 1, True, False, None, "1", 0.5, -math.inf, [1], [[1]], {"a": 1}, {"b": 1}, "", []]
    assert len({canonical_json(value) for value in values}) == len(values)
    assert canonical_json({3, 1, 2}) == "[1,2,3]"
    assert canonical_json((1.0, np.array([2, 3]))) == "[1,[2,3]]"
    assert canonical_json(-0.0) == "0"


@dataclass(frozen=True)
class Point:
    x: float
    y: float = 2.0


def test_functions_and_dataclasses_have_fingerprints_that_follow_their_content() -> None:
    def make(c: float, body: str = "x + c") -> object:
        space: dict[str, object] = {"c": c}
        exec(f"def outer(c):\n    def f(x):\n        'a docstring'\n        return {body}\n    return f", space)
        return space["outer"](c)  # type: ignore[operator]

    assert digest(make(1.0)) == digest(make(1.0)) == digest(make(1.0, "x + c  # a comment"))
    assert digest(make(1.0)) != digest(make(2.0))
    assert digest(make(1.0)) != digest(make(1.0, "x * c"))
    assert digest(make(1.0, "x + 3")) != digest(make(1.0, "x + 4"))
    assert digest(Point(1.0)) == digest(Point(1, 2)) != digest(Point(1.5))
    assert digest(functools.partial(make, 1.0)) != digest(functools.partial(make, 2.0))


def test_methods_of_classes_count() -> None:
    def make(factor: float) -> object:
        source = f"class Own:\n    def analyse(self, x):\n        return {factor} * x\n"
        space: dict[str, object] = {"__name__": "users_module"}
        exec(compile(source, "own.py", "exec"), space)
        return space["Own"]()  # type: ignore[operator]

    assert digest(make(2.0)) == digest(make(2.0)) != digest(make(3.0))


def test_functions_of_the_library_have_fingerprints() -> None:
    found = [digest(functools.partial(part, prop=0.3)) for part in (sim.ampute, sim.drop_out)]
    assert len(set(found)) == 2


def test_functions_follow_data_and_functions_of_their_module() -> None:
    def make(constant: float, factor: int) -> object:
        space: dict[str, object] = {"np": np, "__name__": "one"}
        exec(
            f"BETA = {{'x': {constant}}}\n"
            f"def inner(x):\n    return {factor} * x + (inner(x - 1) if x > 0 else 0)\n"
            "def outer(x):\n    return [inner(BETA['x'] + np.sqrt(y)) for y in x]\n",
            space,
        )
        return space["outer"]

    assert digest(make(0.5, 2)) == digest(make(0.5, 2))
    assert digest(make(0.5, 2)) != digest(make(0.6, 2))
    assert digest(make(0.5, 2)) != digest(make(0.5, 3))


HELPER = """
import functools, jax, numpy as np, pandas as pd
def loc(x): return VALUE * x
class Model:
    def run(self, x): return VALUE * x
    @staticmethod
    def static(x): return VALUE * x
    @property
    def slope(self): return VALUE
cached = functools.lru_cache(loc)
compiled = jax.jit(loc)
BETA = {"x": VALUE, "y": float("nan")}
TABLE = pd.DataFrame({"a": [VALUE, None], "b": ["u", "v"]})
"""
MIDDLE = """
import helper_of_user as other
def go(x): return go(x - 1) if x else other.loc(x)
class Derived(other.Model): pass
"""
USES = {
    "function": "from helper_of_user import loc\ndef f(d): return loc(d)",
    "attribute": "import helper_of_user as h\ndef f(d): return h.loc(d)",
    "inside": "def f(d):\n    import helper_of_user\n    return [helper_of_user.loc(x) for x in d]",
    "inside from": "def f(d):\n    from helper_of_user import loc\n    return lambda: loc(d)",
    "not called": "import helper_of_user as h\nTABLE = {'a': h.loc}\ndef f(d): return TABLE['a'](d)",
    "second module": "from middle_of_user import go\ndef f(d): return go(d)",
    "class": "from helper_of_user import Model\ndef f(d): return Model().run(d)",
    "static method": "from helper_of_user import Model\ndef f(d): return Model.static(d)",
    "property": "from helper_of_user import Model\ndef f(d): return Model().slope",
    "base class": "from middle_of_user import Derived\ndef f(d): return Derived().run(d)",
    "bound method": "from middle_of_user import Derived\nf = Derived().run",
    "cached": "from helper_of_user import cached\ndef f(d): return cached(d)",
    "compiled": "from helper_of_user import compiled\ndef f(d): return compiled(d)",
    "data": "import helper_of_user as h\ndef f(d): return h.BETA['x'] * d",
    "data frame": "from helper_of_user import TABLE\ndef f(d): return TABLE['a']",
    "default": "from helper_of_user import loc\ndef f(d, g=loc): return g(d)",
}


@pytest.mark.parametrize("use", USES)
def test_functions_follow_other_modules_of_the_user(use: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(value: float, file: str = "/home/me/file.py") -> str:
        for name, text in (("helper_of_user", HELPER), ("middle_of_user", MIDDLE), ("main_of_user", USES[use])):
            module = types.ModuleType(name)
            module.__spec__ = importlib.machinery.ModuleSpec(name, None, origin=file)
            module.__file__ = file
            monkeypatch.setitem(sys.modules, name, module)
            exec(compile(text.replace("VALUE", str(value)), file, "exec"), vars(module))
        return digest(module.f)

    assert make(1.0) == make(1.0) != make(9.0)
    if use in ("function", "attribute", "inside", "second module", "class", "compiled"):
        installed = "/usr/lib/python3/site-packages/file.py"
        assert make(1.0, installed) == make(9.0, installed)


def test_names_of_scripts_and_self_reference_have_fingerprints() -> None:
    def make(name: str) -> object:
        space: dict[str, object] = {"__name__": name}
        exec("class Node: pass\nNODE = Node()\nNODE.me = NODE\ndef f(x): return __name__, NODE, f, {f, g}\n", space)
        exec("def g(x): return f(x)", space)
        return space["f"]

    assert digest(make("__main__")) == digest(make("__mp_main__"))
    chain: dict[str, object] = {}
    exec("def f0(x): return x\n" + "\n".join(f"def f{i}(x): return f{i - 1}(x)" for i in range(1, 2000)), chain)
    assert len(canonical_json(chain["f1999"])) > 2000 * 50  # deeper than Python's stack


@pytest.mark.parametrize(
    ("value", "message"), [(math.nan, "NaN"), ({1: 2}, "must be strings"), (object(), "no stable form")]
)
def test_values_without_a_stable_form_are_refused(value: object, message: str) -> None:
    with pytest.raises(SimulationError, match=message):
        scenario_id({"p": value})
