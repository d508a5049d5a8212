"""What the panel's screens share: their table of keys, the footer made from it, and the panel they stand in."""

from typing import TYPE_CHECKING, ClassVar, cast

from textual.screen import Screen
from textual.widgets import Input

from app.keys import Key
from app.widgets.key_footer import KeyFooter

if TYPE_CHECKING:
    from app.panel import Panel


class PanelScreen(Screen[None]):
    """A screen with a table of keys."""

    KEYS: ClassVar[tuple[Key, ...]] = ()

    @property
    def panel(self) -> "Panel":
        """The app, by its own type."""
        return cast("Panel", self.app)

    @property
    def goes_on(self) -> str | None:
        """A run that goes on when the panel is left, where this screen knows one."""
        return None

    def all_keys(self) -> list[Key]:
        """Every key of the screen in the order of its table; more where parts of it have keys of their own."""
        return list(self.KEYS)

    def action_target(self, action: str) -> object:
        """The object whose action method a key's action means."""
        return self

    def working_keys(self) -> list[Key]:
        """The keys that work now."""
        return [key for key in self.all_keys() if self._works(key.action)]

    def _works(self, action: str) -> bool:
        name = action.partition("(")[0].rpartition(".")[2]
        if action.startswith("app."):
            return bool(self.app.check_action(name, ()))
        target = self.action_target(action)
        check = getattr(target, "check_action", self.check_action)
        return bool(check(name, ()))

    def on_descendant_focus(self) -> None:
        """Other keys work where a person writes."""
        self.show_keys()

    def show_keys(self) -> None:
        """Bring the footer up to date."""
        for footer in self.query(KeyFooter):
            footer.show_keys(self.working_keys(), writing=isinstance(self.focused, Input))
