"""Starting the tool must not wait for a compiler."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import importlib, pkgutil, sys
import numba.core.dispatcher as dispatcher
import TumorRetrievalLib.growth as room

for module in pkgutil.iter_modules(room.__path__):
    if module.name != "latent_search":
        importlib.import_module(f"{room.__name__}.{module.name}")
compiled = [
    f"{name}.{key}"
    for name, module in list(sys.modules.items()) if name.startswith(room.__name__)
    for key, value in vars(module).items() if isinstance(value, dispatcher.Dispatcher) and value.signatures
]
print(compiled, [name for name in ("torch", "faiss", "SimpleITK", "matplotlib", "nibabel") if name in sys.modules])
"""


def test_importing_growth_compiles_nothing_and_loads_nothing_heavy():
    root = Path(__file__).parents[4]

    result = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=root, capture_output=True, text=True, timeout=120, check=False
    )

    assert result.stdout.strip() == "[] []", result.stderr
