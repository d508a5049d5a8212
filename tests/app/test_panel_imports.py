"""What the panel may load, and how little of it before the first paint."""

import gc
import subprocess
import sys

HEAVY = (
    "torch",
    "transformers",
    "peft",
    "bitsandbytes",
    "accelerate",
    "datasets",
    "numpy",
    "scipy",
    "pandas",
    "engine.compute",
    "engine.core",
)
EVERYTHING = """
import pkgutil, importlib, app.screens, app.widgets, app.panel
for package in (app.screens, app.widgets):
    for found in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(found.name)
"""
SHOW = "import sys; print(' '.join(sorted(sys.modules)))"


def loaded(code: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", f"{code}\n{SHOW}"], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_whole_panel_loads_nothing_heavy():
    modules = loaded(EVERYTHING)
    assert "app.screens.report" in modules
    assert not {name for name in modules if name in HEAVY}


def test_the_first_screen_loads_no_chart():
    modules = loaded("import app.panel, app.screens.run, app.screens.gates")
    assert not {name for name in modules if name.split(".")[0] in ("plotext", "textual_plotext")}


async def test_garbage_is_collected_again_once_the_panel_is_there(panel_on, until):
    gc.disable()
    try:
        panel = panel_on("go")
        async with panel.run_test(size=(80, 24)) as pilot:
            await until(pilot, gc.isenabled)
    finally:
        gc.enable()
        gc.unfreeze()
