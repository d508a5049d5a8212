"""Where an answer goes on into a new prompt, and the texts left when it is cut there.

One rule serves the runaway QC rule (SPEC §4), the check `no_runaway` (§10) and the secondary readings (§6): after the first
non-empty line, a line that starts `Instruction:`, `Question:`, `Q:`, `A:`, `User:`, `Assistant:`, `Human:` or `Response:`. It refuses
to judge by length, and never looks at a marker on the first non-empty line or inside a fenced block of code that is closed.
"""

import re
from typing import Final

END_DELIMITER: Final = "###END###"
MARKERS: Final = ("Instruction", "Question", "Q", "A", "User", "Assistant", "Human", "Response")

_LINE_END = r"\r\n\x85\u2028\u2029"
_MARKER_LINE = re.compile(rf"(?<![^{_LINE_END}])[^\S{_LINE_END}]*({'|'.join(MARKERS)}):")
_BLANK_LINE = re.compile(rf"(?:\r\n|[{_LINE_END}])[^\S{_LINE_END}]*(?=[{_LINE_END}])")
_NAMED = re.compile(rf"(?<!\w)({'|'.join(MARKERS)}):", re.IGNORECASE)

_QUESTION_FORM: Final = frozenset({"Question", "Q", "A"})
_DIALOGUE_FORM: Final = frozenset({"User", "Assistant", "Human"})
_MAKE = (
    r"\b(?:write|create|generate|compose|make|give|list|suggest|propose|draft|come up|produce|design|develop|prepare|ask|simulate|"
    r"continue|invent|format|turn|convert|rewrite|transcribe|imagine|script)\b[^.!?\n]{0,80}?\b"
)
_ASKED_FORMS: Final = (
    (
        re.compile(rf"{_MAKE}(?:q\s*(?:&|and|\+|/)\s*a|faqs?|quiz(?:zes)?|questions? and answers?)\b", re.IGNORECASE),
        _QUESTION_FORM,
    ),
    (re.compile(rf"{_MAKE}questions?\b", re.IGNORECASE), frozenset({"Question", "Q"})),
    (re.compile(rf"{_MAKE}(?:dialog(?:ue)?s?|conversations?|transcripts?|chat logs?)\b", re.IGNORECASE), _DIALOGUE_FORM),
    (re.compile(rf"{_MAKE}interviews?\b", re.IGNORECASE), _DIALOGUE_FORM | _QUESTION_FORM),
    (re.compile(r"\b(?:jokes?|puns?|riddles?|trivia|flash ?cards?)\b", re.IGNORECASE), _QUESTION_FORM),
    (re.compile(rf"{_MAKE}(?:screenplays?|scenes?|skits?|role[- ]?plays?)\b", re.IGNORECASE), _DIALOGUE_FORM),
)
_FENCE = re.compile(r"^ {0,3}(```+|~~~+)([^\r\n]*)$", re.MULTILINE)


def asked_for(instruction: str) -> frozenset[str]:
    """The markers (members of `MARKERS`) whose form the instruction asks for, so that using them is no runaway.

    A marker counts as asked for when the instruction writes it with its colon (`Q:`), or has a verb of making (write,
    list, convert…) and after it, in the same sentence, a form made of it: questions and answers, FAQ, quiz, interview, dialogue…; or it
    is about a joke, a riddle, trivia or flash cards, which are told as questions and answers.
    """
    named = {match.group(1).capitalize() for match in _NAMED.finditer(instruction)}
    return frozenset(named).union(*(markers for pattern, markers in _ASKED_FORMS if pattern.search(instruction)))


def new_prompt_marker(text: str, asked: frozenset[str] = frozenset()) -> int | None:
    """Offset in characters of the first line that starts a new prompt, not counting markers in `asked`; None if there is none."""
    first_line_at = len(text) - len(text.lstrip())
    blocks: list[tuple[int, int]] | None = None
    for match in _MARKER_LINE.finditer(text):
        at = match.start(1)
        if match.end() <= first_line_at or at == first_line_at or match.group(1) in asked:
            continue
        blocks = _code_blocks(text) if blocks is None else blocks
        if not any(low <= at < high for low, high in blocks):
            return match.start()
    return None


def _code_blocks(text: str) -> list[tuple[int, int]]:
    """Where fenced blocks of code stand that are closed again."""
    blocks, opened = [], None
    for match in _FENCE.finditer(text):
        if opened is None:
            opened = match
        elif match.group(1).startswith(opened.group(1)) and not match.group(2).strip():
            blocks.append((opened.start(), match.end()))
            opened = None
    return blocks


def after_stop_rules(text: str, asked: frozenset[str] = frozenset()) -> str:
    """The text before the first `###END###` or new-prompt marker, trailing white space removed; unchanged where there is neither."""
    marker = new_prompt_marker(text, asked)
    delimiter = text.find(END_DELIMITER)
    cuts = [offset for offset in (marker, delimiter) if offset is not None and offset >= 0]
    return text[: min(cuts)].rstrip() if cuts else text


def after_blank_line(text: str) -> str:
    """The text before its first blank line, not counting blank lines at the start; unchanged where there is none.

    A reading that never decides: good answers have blank lines.
    """
    first_line_at = len(text) - len(text.lstrip())
    blank = _BLANK_LINE.search(text, first_line_at)
    return text[: blank.start()].rstrip() if blank and text[blank.end() :].strip() else text
