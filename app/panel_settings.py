"""What the panel remembers in the workspace (`.sluice/panel.json`): theme, tabs, orders and filters, saved on change.

It refuses to fail: an unreadable or unwritable file means defaults, and the reason is told once.
"""

from pathlib import Path

import msgspec

from app.private_files import replace_file


class PanelSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`theme` is a theme's name, `tabs` the last tab of a run by its id (the newest `MAX_RUNS`).

    `runs_order` and `runs_filter` are those of the list of runs, `items_order` and `items_filter` those of the lists of items, and
    `types_order` is that of the report's table of types. A name that this release does not know means the first one.
    """

    theme: str = "dark"
    tabs: dict[str, str] = {}
    runs_order: str = "newest"
    runs_filter: str = "all"
    items_order: str = "as asked"
    items_filter: str = "all"
    types_order: str = "name"


MAX_RUNS = 100


def settings_path(root: Path) -> Path:
    """Where the settings of a workspace are."""
    return root / ".sluice" / "panel.json"


def load_settings(root: Path) -> PanelSettings:
    """The saved settings, or defaults."""
    try:
        return msgspec.json.decode(settings_path(root).read_bytes(), type=PanelSettings)
    except (OSError, msgspec.DecodeError):
        return PanelSettings()


def save_settings(root: Path, settings: PanelSettings) -> str:
    """Replace the file in one step; an empty text, or why it could not be written."""
    path = settings_path(root)
    try:
        replace_file(path, msgspec.json.encode(settings))
    except OSError as error:
        return f"{path}: {error.strerror}"
    return ""


def with_tab(settings: PanelSettings, run_id: str, tab: str) -> PanelSettings:
    """The settings with the tab of a run noted, the oldest notes dropped."""
    tabs = {**{key: value for key, value in settings.tabs.items() if key != run_id}, run_id: tab}
    return msgspec.structs.replace(settings, tabs=dict(list(tabs.items())[-MAX_RUNS:]))
