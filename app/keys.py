"""One table of keys a screen: the handlers, the footer, the help and the command palette are all made from it.

It refuses keys that a terminal may keep to itself (Ctrl-A, B, S, Q, Z) and Escape as the only one for an action.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from textual.binding import Binding

KEPT_BY_TERMINALS = frozenset({"ctrl+a", "ctrl+b", "ctrl+s", "ctrl+q", "ctrl+z", "escape"})
_SHOWN = {"enter": "↵", "end": "End", "home": "Home", "tab": "Tab", "question_mark": "?", "slash": "/", "escape": "Esc", "ctrl+p": "^p", "space": "Space",
          "left_square_bracket": "[", "right_square_bracket": "]", "pageup": "PgUp", "pagedown": "PgDn",
          **{f"f{number}": f"F{number}" for number in range(1, 13)}}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Key:
    """`keys` are Textual's names, comma-separated, the first one shown; `label` is for the footer, `help` a sentence."""

    keys: str
    action: str
    label: str
    help: str
    footer: bool = True

    @property
    def shown(self) -> str:
        """The key as it stands in footer and help."""
        first = self.keys.split(",")[0]
        return _SHOWN.get(first, first)


def bindings(keys: Iterable[Key]) -> list[Binding]:
    """Textual's bindings of a table.

    Raises: ValueError for a key that a terminal may keep and that has no other beside it.
    """
    for key in keys:
        if set(key.keys.split(",")) <= KEPT_BY_TERMINALS:
            raise ValueError(f"{key.action}: {key.keys} may never reach the panel; give it another key too")
    return [Binding(key.keys, key.action, key.label, show=False) for key in keys]
