"""The check kind `choice`: which of the given options the response picks.

Read in this order: an option the response begins with ("B", "(B)", "**B.** Paris", "Option B"); the option after the last
"answer is", "answer:", "I choose" or "option is"; the only option mentioned anywhere. Options are whole words, longest first, in any
case; an option of one letter keeps its case and must stand apart ("A dog" does not pick A); "not B" mentions nothing. Options joined to
the one picked ("A or B", "A, B", "(A) and (B)") are picked with it. It refuses to choose among several: such an answer fails.
"""

import re
from collections.abc import Iterator, Sequence

from engine.core.checks.finding import Arguments, Context, Finding, Kind, unreadable
from engine.core.text import fold_quotes, quoted

_LEAD = r"[\s(\[\"'*_]*"
_BEHIND = r"[\s)\]\"'*_]*"
_JOIN = r"(?:\b(?:and|or|nor)\b|[/&])"
_AFTER_LETTER = rf"(?={_BEHIND}(?:$|[.,:;)\]\n]|[-–—]\s|{_JOIN}{_LEAD}\w(?!\w)))"
_NO_PICK = r"(?!\s+(?:one|doubt|longer|more|matter)\b)"
_INTRODUCTION = r"(?:answer\s+is|answer\s*:|answer\s+would\s+be|i\s+choose|i\s+pick|(?:choice|option)\s+is)"


class Choice(Arguments, frozen=True, kw_only=True):
    """The right option and all options."""

    value: str
    options: tuple[str, ...]

    def problems(self) -> Iterator[str]:
        """Fewer than two options, blank or repeated ones, or a value that is not among them."""
        keys = {_key(option) for option in self.options}
        if len(self.options) < 2:
            yield f'"options" has {len(self.options)}; a choice needs at least 2'
        if any(not option.strip() for option in self.options):
            yield '"options" has a blank one'
        if len(keys) < len(self.options):
            yield '"options" has the same option twice'
        if keys and _key(self.value) not in keys:
            yield f'"value" is {quoted(self.value)}, which is not among the options {", ".join(map(quoted, self.options))}'


def picked(response: str, options: Sequence[str]) -> frozenset[str]:
    """The options the response picks, as keys: one where it is clear, several or none where it is not."""
    text = fold_quotes(response).strip()
    alone, named = _alternatives(options, _AFTER_LETTER), _alternatives(options, r"(?!\w)")
    for pattern in (rf"{_LEAD}(?:{alone})", rf"{_LEAD}(?i:option|choice|answer)\b\s*:?{_LEAD}(?:{named})"):
        if beginning := re.match(pattern, text):
            return _keys(_with_joined(text, beginning, options))
    introduced = list(re.finditer(rf"(?i:{_INTRODUCTION}){_LEAD}(?:(?i:option|choice)\s+)?{_LEAD}(?:{named})", text))
    if introduced:
        return _keys(_with_joined(text, introduced[-1], options))
    return _keys(list(re.finditer(rf"(?<!\w)(?<!\bnot\s)(?:{alone})", text)))


def _with_joined(text: str, picked: re.Match[str], options: Sequence[str]) -> list[re.Match[str]]:
    """The pick, and the options that "and", "or", "/" or, between letters, a comma joins to it."""
    letters = [option for option in options if _is_letter(_key(option))]
    named = _alternatives(options, r"(?!\w)")
    further = [rf"{_BEHIND}(?:,\s*(?=or\b))?{_JOIN}{_LEAD}(?i:(?:option|choice)\s+)?{_LEAD}(?:{named}){_NO_PICK}"]
    if letters:
        further.append(rf"{_BEHIND},{_LEAD}(?:{_alternatives(letters, _AFTER_LETTER)})")
    joined = [picked]
    while found := next((m for pattern in further if (m := re.compile(pattern).match(text, joined[-1].end()))), None):
        joined.append(found)
    return joined


def _alternatives(options: Sequence[str], after_letter: str) -> str:
    ordered = sorted(map(_key, options), key=lambda option: (-len(option), option))
    return "|".join(_spelled(option, after_letter) for option in ordered)


def _spelled(option: str, after_letter: str) -> str:
    body = r"\s+".join(re.escape(word) for word in option.split())
    if _is_letter(option):
        return f"({body}){after_letter}"
    return rf"((?i:{body}))(?!\w)"


def _is_letter(option: str) -> bool:
    return len(option) == 1 and option.isalpha()


def _keys(matches: list[re.Match[str]]) -> frozenset[str]:
    return frozenset(_key(next(text for text in match.groups() if text is not None)) for match in matches)


def _key(option: str) -> str:
    folded = " ".join(fold_quotes(option).split())
    return folded if len(folded) == 1 else folded.casefold()


def _choice(arguments: Choice, response: str, context: Context) -> Finding:
    found = sorted(picked(response, arguments.options))
    if not found:
        return unreadable(f"need {quoted(arguments.value)}, but none of the {len(arguments.options)} options is picked")
    if len(found) > 1:
        return unreadable(
            f"need {quoted(arguments.value)} alone, but {len(found)} options are named: {', '.join(map(quoted, found))}"
        )
    holds = found[0] == _key(arguments.value)
    return Finding(holds, f"picks {quoted(found[0])}" if holds else f"need {quoted(arguments.value)}, picks {quoted(found[0])}")


CHOICE = Kind(Choice, _choice)
