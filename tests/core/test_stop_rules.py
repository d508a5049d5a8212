"""New-prompt markers, what instructions ask for, and the two cuts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.stop_rules import MARKERS, after_blank_line, after_stop_rules, asked_for, new_prompt_marker


@pytest.mark.parametrize("marker", MARKERS)
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r", "\n\n", "\n  \t", "\u2028"])
def test_every_marker_on_a_later_line_is_found(marker: str, newline: str) -> None:
    text = f"Paris.{newline}{marker}: more"
    at = new_prompt_marker(text)
    assert at is not None
    assert text[at:].strip() == f"{marker}: more"
    assert after_stop_rules(text) == "Paris."


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Paris.",
        "Response: Paris.",
        "\n\n  Q: on the first line that is not empty",
        "See Question: inline\nand A : spaced",
        "one\nAnswer: two",
        "one\nAdam: two",
        "one\nQuestions: two",
        "one\nquestion: lower case",
        "a very long answer " * 500,
    ],
)
def test_no_marker(text: str) -> None:
    assert new_prompt_marker(text) is None
    assert after_stop_rules(text) == text


def test_the_first_marker_counts_even_when_the_first_line_has_one() -> None:
    assert after_stop_rules("Response: a\nb\nQ: c\nUser: d") == "Response: a\nb"
    assert after_stop_rules("\nA: x\nA: y") == "\nA: x"


def test_end_delimiter_cuts_anywhere() -> None:
    assert after_stop_rules("Paris. ###END### Instruction: next") == "Paris."
    assert after_stop_rules("###END###") == ""
    assert after_stop_rules("Paris.\nQ: x ###END###") == "Paris."


@pytest.mark.parametrize(
    ("instruction", "marker", "asked"),
    [
        ("Write three pairs of Q: and A: lines.", "Q", True),
        ("Write three pairs of Q: and A: lines.", "User", False),
        ("Make an FAQ about bees.", "A", True),
        ("Write a Q&A on tides.", "Question", True),
        ("Write a dialogue with a chatbot.", "User", True),
        ("Write an interview with a baker.", "Q", True),
        ("List five questions for a new colleague.", "Question", True),
        ("List five questions for a new colleague.", "A", False),
        ("What is the capital of France?", "Q", False),
        ("Begin each line with 'user:'.", "User", True),
        ("Answer the question.", "Question", False),
        ("Answer these questions.", "Question", False),
        ("Summarise the conversation.", "User", False),
        ("What did Iraq: do?", "Q", False),
    ],
)
def test_asked_for(instruction: str, marker: str, asked: bool) -> None:
    text = f"first line\n{marker}: second"
    assert (marker in asked_for(instruction)) is asked
    assert (new_prompt_marker(text, asked_for(instruction)) is None) is asked


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("a\n\nb", "a"),
        ("a\n \t\nb\n\nc", "a"),
        ("a\r\n\r\nb", "a"),
        ("\n\na\nb\n\nc", "\n\na\nb"),
        ("a\nb", "a\nb"),
        ("a\n\n", "a\n\n"),
        ("", ""),
    ],
)
def test_after_blank_line(text: str, cut: str) -> None:
    assert after_blank_line(text) == cut


@given(st.text(alphabet="QA: \n\r#x", max_size=30))
def test_cuts_are_prefixes_and_stable(text: str) -> None:
    for cut in (after_stop_rules, after_blank_line):
        assert text.startswith(cut(text))
        assert cut(cut(text)) == cut(text)
    assert new_prompt_marker(after_stop_rules(text)) is None


def test_a_closed_block_of_code_holds_no_prompt_and_an_open_one_may() -> None:
    block = "Here it is.\n```yaml\nschemas:\n  User:\n    type: object\n```"
    assert new_prompt_marker(block) is None
    assert after_stop_rules(f"{block}\nUser: thanks") == block
    assert new_prompt_marker(block.removesuffix("```")) is not None
    assert new_prompt_marker("~~~~\nQ: in\n~~~\nA: in\n~~~~\nText") is None


@pytest.mark.parametrize(
    ("instruction", "asked"),
    [("Tell me a joke.", {"Question", "Q", "A"}), ("Do you know a riddle?", {"Question", "Q", "A"}),
     ("Write a short scene in a shop.", {"User", "Assistant", "Human"}), ("Describe the scene.", set()), ("Play a song.", set())],
)  # fmt: skip
def test_forms_that_are_told_as_questions_or_in_turns(instruction: str, asked: set[str]) -> None:
    assert asked_for(instruction) == asked
