"""IFEval's `detectable_format:` instructions: bullets, highlights, sections, a title, JSON, one of three fixed answers.

JSON is what Python's reader takes, inside one Markdown fence or bare, as in the original; the check kind `json` is stricter.
It refuses to read a section's name as a pattern, and every rule here takes time proportional to the length of the text.
"""

import json
import re
from collections.abc import Iterator
from typing import Final

from engine.core.checks.finding import Arguments, Context, Finding, Kind
from engine.core.checks.ifeval.relation import Count, Positive, at_least, exactly
from engine.core.text import quoted

_ANSWERS: Final = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_STAR_BULLET = re.compile(r"^[^\S\n]*\*[^*].*$", re.MULTILINE)
_DASH_BULLET = re.compile(r"^[^\S\n]*-", re.MULTILINE)
_ONE_STAR = re.compile(r"\*([^\n*]*)\*")
_TWO_STARS = re.compile(r"\*\*([^\n*]*)\*\*")
_FENCES: Final = ("```json", "```Json", "```JSON", "```")


class NoKwargs(Arguments, frozen=True, kw_only=True):
    """The instruction takes no arguments."""


class Bullets(Arguments, frozen=True, kw_only=True):
    """Exactly `num_bullets` lines that begin with `*` (but not `**`) or `-`."""

    num_bullets: Count


class Highlights(Arguments, frozen=True, kw_only=True):
    """At least `num_highlights` stretches of one line between single or double asterisks."""

    num_highlights: Count


class Sections(Arguments, frozen=True, kw_only=True):
    """At least `num_sections` marks such as `Section 1`: `section_spliter` (spelt as published), then a number."""

    section_spliter: str
    num_sections: Positive

    def problems(self) -> Iterator[str]:
        """A blank mark."""
        if not self.section_spliter.strip():
            yield '"section_spliter" is blank'


def _bullets(arguments: Bullets, response: str, context: Context) -> Finding:
    count = len(_STAR_BULLET.findall(response)) + len(_DASH_BULLET.findall(response))
    return exactly(count, arguments.num_bullets, "bullet")


def _highlights(arguments: Highlights, response: str, context: Context) -> Finding:
    marked = [*_ONE_STAR.findall(response), *_TWO_STARS.findall(response)]
    return at_least(sum(bool(text.strip()) for text in marked), arguments.num_highlights, "highlighted section")


def _sections(arguments: Sections, response: str, context: Context) -> Finding:
    mark = arguments.section_spliter.strip()
    count = len(re.findall(rf"{re.escape(mark)}\s?\d+", response))
    return at_least(count, arguments.num_sections, f"{quoted(mark)} section")


def _title(arguments: NoKwargs, response: str, context: Context) -> Finding:
    for line in response.split("\n"):
        start, end = line.find("<<"), line.rfind(">>")
        if 0 <= start < end and (title := line[start:end].lstrip("<").rstrip(">").strip()):
            return Finding(True, f"has the title {quoted(title)}")
    return Finding(False, "has no title of the form <<title>>")


def _json_format(arguments: NoKwargs, response: str, context: Context) -> Finding:
    text = response.strip()
    for fence in _FENCES:
        text = text.removeprefix(fence)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError) as error:
        return Finding(False, f"is not JSON: {error}")
    return Finding(True, "is JSON")


def _constrained_response(arguments: NoKwargs, response: str, context: Context) -> Finding:
    given = next((answer for answer in _ANSWERS if answer in response), None)
    if given is None:
        return Finding(False, f"has none of {', '.join(map(quoted, _ANSWERS))}")
    return Finding(True, f"has {quoted(given)}")


NUMBER_BULLET_LISTS = Kind(Bullets, _bullets)
NUMBER_HIGHLIGHTED_SECTIONS = Kind(Highlights, _highlights)
MULTIPLE_SECTIONS = Kind(Sections, _sections)
TITLE = Kind(NoKwargs, _title)
JSON_FORMAT = Kind(NoKwargs, _json_format)
CONSTRAINED_RESPONSE = Kind(NoKwargs, _constrained_response)
