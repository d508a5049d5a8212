"""Scenes for the panel's tests: run folders of invented runs, and a panel whose clock stands still at their last event."""

import importlib.util
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from app.panel import Panel
from engine.protocol.runs import RunFolder


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


journals = _load(Path(__file__).parent / "journals" / "make_journals.py")


@pytest.fixture(autouse=True)
def lasting_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever /tmp is here, a container's overlay say, the list of runs warns of nothing."""
    monkeypatch.setattr("app.screens.runs.warning", lambda root: "")


@pytest.fixture(scope="session")
def scene_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """A scene by name, each in a workspace of its own, made once."""
    made: dict[str, Any] = {}

    def scene(name: str) -> Any:
        if name not in made:
            made[name] = journals.make_scene(tmp_path_factory.mktemp("workspace") / "w", name)
        return made[name]

    return scene


@pytest.fixture
def panel_on(scene_of: Callable[[str], Any], tmp_path: Path) -> Callable[..., Panel]:
    """A panel on a scene, its own settings folder, its clock standing at the scene's end."""

    def panel(name: str, **more: Any) -> Panel:
        scene = scene_of(name)
        return Panel(tmp_path / "settings", scene.run, clock=lambda: scene.clock_s, **more)

    return panel


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Every scene in one workspace whose path is short and always the same length."""
    root = tmp_path / "w"
    for name in journals.SCENES:
        journals.make_scene(root, name)
    return root


@pytest.fixture
def copied(scene_of: Callable[[str], Any], tmp_path: Path) -> Callable[[str], RunFolder]:
    """A scene's run in a workspace of this test's own."""

    def copy(name: str) -> RunFolder:
        source = scene_of(name).run.path
        run = RunFolder(tmp_path / "w" / "checkpoints" / "stage1_sft" / source.name)
        shutil.copytree(source, run.path)
        return run

    return copy


@pytest.fixture
def shown() -> Callable[[Any], str]:
    """The text of a panel's screen, line by line."""

    def text(app: Any) -> str:
        height = app.size.height
        lines = app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in lines[:height])

    return text


@pytest.fixture
def until(shown: Callable[[Any], str]) -> Callable[..., Any]:
    """Wait until something holds, in a running panel; fails with what is on the screen."""

    async def wait(pilot: Any, holds: Callable[[], bool]) -> None:
        # long, as a loaded machine is not a failure
        deadline_s = time.monotonic() + 60
        while time.monotonic() < deadline_s:
            if holds():
                return
            await pilot.pause(0.025)
        raise AssertionError(f"it never came to hold on {pilot.app.screen!r}, which shows\n{shown(pilot.app)}")

    return wait
