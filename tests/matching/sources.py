"""The engine made anew from its sources, with other bounds. Whoever has imported it keeps the usual ones."""

from __future__ import annotations

import functools
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

from services import matching
from services.matching.engine import Engine

MODULES = (
    "literals", "queues", "titles", "book", "state", "trading", "orders", "changes", "plans", "blocks", "quotes", "backing",
    "moments", "settling", "operating", "invariants", "engine",
)  # fmt: skip
"""The engine, each after those that it imports."""


def engine_with(**bounds: int) -> Engine:
    """An engine with other bounds. Those in capitals are part of the code: it is made anew from its sources for them."""
    constants = tuple(sorted((name, value) for name, value in bounds.items() if name.isupper()))
    made: Engine = modules_with(constants)["engine"].Engine() if constants else Engine()
    for name, value in bounds.items():
        if not name.isupper():
            assert isinstance(getattr(made, name), int), f"the engine has no bound {name}"
            setattr(made, name, value)
    return made


@functools.cache
def modules_with(bounds: tuple[tuple[str, int], ...]) -> dict[str, ModuleType]:
    """The engine's modules from their sources, with other bounds; whoever imports them otherwise has the usual ones."""
    kept = {name: sys.modules.pop(f"services.matching.{name}", None) for name in MODULES}
    found: dict[str, ModuleType] = {}
    try:
        for name in MODULES:
            found[name] = _from_source(name)
            for bound, value in bounds:
                if hasattr(found[name], bound):
                    setattr(found[name], bound, value)
    finally:
        for name, module in kept.items():
            if module is None:
                del sys.modules[f"services.matching.{name}"]
            else:
                sys.modules[f"services.matching.{name}"] = module
                setattr(matching, name, module)
    for bound, _ in bounds:
        assert any(isinstance(vars(module).get(bound), int) for module in found.values()), f"no bound {bound}"
    return found


def _from_source(name: str) -> ModuleType:
    """A compiled module takes no other bounds."""
    loader = SourceFileLoader(f"services.matching.{name}", str(Path(matching.__path__[0]) / f"{name}.py"))
    module = module_from_spec(spec_from_loader(loader.name, loader))  # type: ignore[arg-type]  # the loader is there
    sys.modules[loader.name] = module
    setattr(matching, name, module)
    loader.exec_module(module)
    return module
