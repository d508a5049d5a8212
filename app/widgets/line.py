"""Text widgets of the panel: content that redraws only when it changed, and a line whose parts can be clicked."""

from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.content import Content
from textual.widgets import Static


class TextBlock(Static):
    """Content that is never read as markup and costs nothing while it stays the same."""

    DEFAULT_CSS = "TextBlock { height: auto; }"

    def __init__(self, *, widget_id: str | None = None, classes: str | None = None) -> None:
        super().__init__("", id=widget_id, classes=f"cut {classes or ''}".strip(), markup=False)
        self._shown = Content("")

    @property
    def text(self) -> str:
        """What stands there, without styles."""
        return self._shown.plain

    def show(self, content: Content) -> None:
        """Replace the content."""
        if content.is_same(self._shown):
            return
        self._shown = content
        self.update(content, layout=self._outgrows(content))

    def _outgrows(self, content: Content) -> bool:
        """Whether the content needs another height; layout is dear, drawing is not."""
        width, height = self.content_size
        return self.styles.is_auto_height and (width == 0 or content.get_height(self.styles.get_rules(), width) != height)


@dataclass(frozen=True)
class Part:
    """A piece of a line; a click on it runs `action`, where there is one."""

    text: str
    style: str = ""
    action: str = ""


class ClickLine(TextBlock):
    """One line whose parts run actions when clicked."""

    DEFAULT_CSS = "ClickLine { height: 1; }"

    def __init__(self, *, widget_id: str | None = None) -> None:
        super().__init__(widget_id=widget_id)
        self._parts: Sequence[Part] = ()

    def show_parts(self, parts: Sequence[Part]) -> None:
        """Replace the parts."""
        self._parts = parts
        self.show(Content.assemble(*((part.text, part.style) for part in parts if part.text)))

    async def on_click(self, event: events.Click) -> None:
        """Run the action of the part under the mouse."""
        x = event.x
        for part in self._parts:
            width = Content(part.text).cell_length
            if x < width and part.action:
                target = getattr(self.screen, "action_target", lambda _: self.screen)(part.action)
                await self.app.run_action(part.action, default_namespace=target)
            if x < width:
                return
            x -= width


def rule(title: str, width: int, right: str = "") -> Content:
    """`─ title ───── right ─`: a dividing line of `width` cells; the title is plain text."""
    name = Content(f"─ {title} ").truncate(max(0, width - len(right) - 4), ellipsis=True)
    tail = f" {right} ─" if right else ""
    return Content.assemble(
        (name.plain, "$secondary"), ("─" * max(0, width - name.cell_length - len(tail)), "$panel"), (tail, "$muted")
    )


def flowed(parts: Sequence[Content | str], width: int, between: str = " · ") -> list[Content]:
    """`parts` joined by `between` on as few lines of `width` cells as they take; a line breaks between parts, never in one that fits."""
    lines: list[Content] = []
    for part in (Content(part) if isinstance(part, str) else part for part in parts):
        if lines and lines[-1].cell_length + len(between) + part.cell_length <= width:
            lines[-1] = Content.assemble(lines[-1], between, part)
        else:
            lines.append(part)
    return [line.truncate(width, ellipsis=True) for line in lines]
