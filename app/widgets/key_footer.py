"""The footer: at most six keys that work now, `?` for all of them and the command palette, made from the tables of keys."""

from collections.abc import Sequence

from app.keys import Key
from app.widgets.line import ClickLine, Part

MOST = 6


class KeyFooter(ClickLine):
    """One line of keys; a click runs the key's action."""

    DEFAULT_CSS = "KeyFooter { dock: bottom; height: 1; background: $panel; color: $foreground; padding: 0 1; }"

    def show_keys(self, keys: Sequence[Key], *, writing: bool = False) -> None:
        """Show the first six of `keys`, the one that leaves always among them, and the one for help.

        While a person is `writing`, letters are text: only keys that still work are shown.
        """
        parts: list[Part] = []
        wanted = [key for key in keys if key.footer and not (writing and len(key.shown) == 1)]
        leave = [key for key in wanted if key.action == "app.leave"][:1]
        for key in [*[key for key in wanted if key not in leave][: MOST - len(leave)], *leave]:
            parts += [Part(key.shown, "bold $primary", key.action), Part(f" {key.label}  ", "", key.action)]
        parts += [Part("F1" if writing else "?", "bold $primary", "app.keys"), Part(" Keys", "", "app.keys")]
        self.show_parts(parts)
