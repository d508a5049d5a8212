import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from engine.protocol.errors import EngineError
from engine.store.gpu_lock import GpuLock, first_visible_gpu, pick_gpu, runtime_folder

KNOWN = ["GPU-aaaa-1", "GPU-bbbb-2"]


def test_one_holds_it_and_the_other_learns_who(tmp_path: Path):
    first, second = GpuLock("GPU-1", tmp_path), GpuLock("GPU-1", tmp_path)
    assert first.acquire("run-a")
    assert not second.acquire("run-b")
    assert second.holder() == "run-a"
    assert GpuLock("GPU-2", tmp_path).acquire("run-c")
    first.release()
    assert second.acquire("run-b")
    assert second.holder() == "run-b"


def test_taking_it_again_is_no_conflict(tmp_path: Path):
    lock = GpuLock("GPU-1", tmp_path)
    assert lock.acquire("run-a")
    assert lock.acquire("run-a")


def test_a_worker_that_inherited_it_keeps_it_until_its_end(tmp_path: Path):
    lock = GpuLock("GPU-1", tmp_path)
    assert lock.acquire("run-a")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock.descriptor])
    os.close(lock.descriptor)
    other = GpuLock("GPU-1", tmp_path)
    assert not other.acquire("run-b")
    child.communicate(b"\n")
    assert other.acquire("run-b")


@pytest.mark.parametrize(
    ("visible", "picked"),
    [
        (None, KNOWN[0]), ("0", KNOWN[0]), ("1,0", KNOWN[1]), ("GPU-bbbb", KNOWN[1]), ("", None), ("-1", None), ("7", None),
        ("NoDevFiles", None),
    ],
)  # fmt: skip
def test_the_first_visible_gpu_is_picked(visible: str | None, picked: str | None):
    assert pick_gpu(KNOWN, visible) == picked
    assert pick_gpu([], visible) is None


def test_nvidia_smi_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho {KNOWN[0]}\necho {KNOWN[1]}\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert first_visible_gpu({"CUDA_VISIBLE_DEVICES": "1"}) == KNOWN[1]
    program.write_text("#!/bin/sh\necho no devices\nexit 6\n")
    assert first_visible_gpu({}) is None
    program.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert first_visible_gpu({}) is None


def test_the_folder_is_private_and_anothers_is_refused(tmp_path: Path):
    folder = runtime_folder(tmp_path)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert runtime_folder(tmp_path) == folder
    folder.chmod(0o755)
    with pytest.raises(EngineError, match="must be a folder of yours alone"):
        runtime_folder(tmp_path)
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(EngineError, match="must be a folder of yours alone"):
        runtime_folder(tmp_path)
