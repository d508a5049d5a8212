"""Whether what is written in a folder outlives the pod: by the file system that it lies on.

A container's own layer and memory file systems are gone with it. It refuses to promise: any other file system only may last.
"""

from pathlib import Path

FLEETING = {
    "overlay": "the container's own layer",
    "aufs": "the container's own layer",
    "fuse-overlayfs": "the container's own layer",
    "tmpfs": "memory",
    "ramfs": "memory",
}
MOUNTS = Path("/proc/self/mountinfo")


def fleeting(path: Path, mounts: Path = MOUNTS) -> str:
    """What makes the folder's content go with the pod, or an empty text; a folder that is not there yet counts as its parent."""
    place = next((folder for folder in (path, *path.parents) if folder.exists()), path).resolve()
    found = _file_system(place, mounts)
    return FLEETING.get(found, "")


def warning(path: Path, mounts: Path = MOUNTS) -> str:
    """A sentence where the workspace does not survive the pod; empty otherwise."""
    why = fleeting(path, mounts)
    return f"on {why}: gone when the pod is; set SLUICE_WORKSPACE to a mounted volume" if why else ""


def _file_system(place: Path, mounts: Path) -> str:
    """The type of the deepest mount above `place`; of several at one point the last one, which covers the others."""
    best, kind = -1, ""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        before, dash, after = line.partition(" - ")
        fields = before.split()
        if not dash or len(fields) < 5:
            continue
        point = Path(fields[4].replace("\\040", " "))
        if place.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), after.split()[0]
    return kind
