"""Every check kind by tables of examples: each row is arguments, a response, and whether the check holds."""

from typing import Any

import pytest

from engine.core.checks import KINDS, Context, compile_checks, judge, score
from engine.protocol.items import CheckSpec, HeldOutItem

INSTRUCTION = "Name the three primary colours of light."

HEDGED = (
    "A and B",
    "A, B",
    "B and A",
    "B/A",
    "I would say A or B.",
    "(A) and (B)",
    "The answer is A or B",
    "Answer: B or A",
    "Option A or B",
)

TABLES: dict[str, list[tuple[dict[str, Any], str, bool]]] = {
    "ifeval": [
        ({"id": "punctuation:no_comma"}, "none here", True),
        ({"id": "punctuation:no_comma"}, "Well, then:\nnone here", False),
        ({"id": "punctuation:no_comma", "reading": "loose"}, "Well, then:\nnone here", True),
    ],
    "exact": [
        ({"value": "Paris"}, " Paris\n", True),
        ({"value": "Paris"}, "paris", False),
        ({"value": "Paris", "ignore_case": True}, "PARIS", True),
        ({"value": "Paris"}, "Paris.", False),
        ({"value": "Paris", "strip": False}, " Paris", False),
        ({"value": " Paris", "strip": False}, " Paris", True),
        ({"values": ["yes", "no"]}, "no", True),
        ({"values": ["yes", "no"]}, "maybe", False),
        ({"value": "é"}, "e\u0301", True),
    ],
    "contains": [
        ({"all": ["red", "blue"]}, "blue and red", True),
        ({"all": ["red", "blue"]}, "red only", False),
        ({"any": ["red", "blue"]}, "a blue sky", True),
        ({"any": ["red", "blue"]}, "green", False),
        ({"none": ["red"]}, "green", True),
        ({"none": ["red"]}, "bred", False),
        ({"all": ["Red"], "ignore_case": True}, "RED", True),
        ({"all": ["Red"]}, "RED", False),
        ({"all": ["a"], "any": ["b", "c"], "none": ["d"]}, "a c", True),
        ({"all": ["a"], "any": ["b", "c"], "none": ["d"]}, "a c d", False),
    ],
    "regex": [
        ({"pattern": r"^\d{4}$"}, " 1984\n", True),
        ({"pattern": r"\d"}, "none", False),
        ({"pattern": r"\d+", "full": True}, "12 monkeys", False),
        ({"pattern": r"\d+", "full": True}, "12", True),
        ({"pattern": "abc", "flags": "i"}, "xABCx", True),
        ({"pattern": "^b$", "flags": "m"}, "a\nb\nc", True),
        ({"pattern": "a.b", "flags": "s"}, "a\nb", True),
        ({"pattern": "a.b"}, "a\nb", False),
        ({"pattern": r"^\w$", "flags": "a"}, "é", False),
    ],
    "number": [
        ({"value": 1234.5}, "It is 1,234.5 m.", True),
        ({"value": -3}, "-3", True),
        ({"value": -3}, "−3", True),
        ({"value": 12}, "12%", True),
        ({"value": 0.5}, ".5", True),
        ({"value": 5}, "$5", True),
        ({"value": -5}, "-$5.00", True),
        ({"value": 6.02e23}, "6.02e23", True),
        ({"value": 5}, "5kg", True),
        ({"value": 2}, "H2O", False),
        ({"value": 4}, "3-4", False),
        ({"value": 4, "which": "last"}, "3-4", True),
        ({"value": 8, "which": "last"}, "5 + 3 = 8.", True),
        ({"value": 8, "which": "first"}, "5 + 3 = 8", False),
        ({"value": 8, "which": "only"}, "5 + 3 = 8", False),
        ({"value": 8, "which": "only"}, "The sum is 8.", True),
        ({"value": 8, "which": "only"}, "8 or 9", False),
        ({"value": 3.14, "tolerance": 0.01}, "3.15", True),
        ({"value": 3.14, "tolerance": 0.01}, "3.1501", False),
        ({"value": 0.3}, "0.1", False),
        ({"value": 0.3}, "0.3", True),
        ({"value": 10000000000000001}, "10000000000000000", False),
        ({"value": 5}, "five", False),
        ({"value": 1}, "9" * 5000, False),
        ({"value": 3, "which": "last"}, "1,2,3", True),
        ({"value": 1.2}, "version 1.2.3", True),
        ({"value": 30, "which": "last"}, "at 10:30", True),
    ],
    "choice": [
        ({"value": "B", "options": ["A", "B", "C"]}, "B", True),
        ({"value": "B", "options": ["A", "B", "C"]}, "(B) Paris", True),
        ({"value": "B", "options": ["A", "B", "C"]}, "**B.** Paris, not A.", True),
        ({"value": "B", "options": ["A", "B", "C"]}, "The answer is B because A is wrong", True),
        ({"value": "B", "options": ["A", "B", "C"]}, "Option B is right", True),
        ({"value": "B", "options": ["A", "B", "C"]}, "Answer: C", False),
        ({"value": "A", "options": ["A", "B", "C"]}, "A dog barks", False),
        ({"value": "B", "options": ["A", "B", "C"]}, "b", False),
        ({"value": "B", "options": ["A", "B", "C"]}, "I think it is B.", True),
        ({"value": "B", "options": ["A", "B", "C"]}, "Either A, B, or C.", False),
        ({"value": "yes", "options": ["yes", "no"]}, "Yes, it is.", True),
        ({"value": "yes", "options": ["yes", "no"]}, "Not sure; nobody knows.", False),
        ({"value": "no", "options": ["yes", "no"]}, "It is yes or no", False),
        ({"value": "not true", "options": ["true", "not true"]}, "That is not true.", True),
        ({"value": "true", "options": ["true", "not true"]}, "That is not true.", False),
        ({"value": "3", "options": ["3", "5"]}, "There are 3.", True),
        ({"value": "don't know", "options": ["don't know", "know"]}, "I don’t  know", True),
        *(({"value": "B", "options": ["A", "B", "C"]}, text, False) for text in HEDGED),
        *(({"value": "A", "options": ["A", "B", "C"]}, text, False) for text in HEDGED),
        ({"value": "B", "options": ["A", "B", "C"]}, "B, not A", True),
        ({"value": "B", "options": ["A", "B", "C"]}, "B, and A is out.", True),
        ({"value": "B", "options": ["A", "B", "C"]}, "It is not A, it is B.", True),
        ({"value": "A", "options": ["A", "B", "C"]}, "The answer is not A", False),
        ({"value": "yes", "options": ["yes", "no"]}, "Yes and no.", False),
        ({"value": "yes", "options": ["yes", "no"]}, "Yes, no doubt.", True),
        ({"value": "yes", "options": ["yes", "no"]}, "Yes, and no one denies it.", True),
        ({"value": "true", "options": ["true", "false"]}, "That is not true.", False),
    ],
    "json": [
        ({}, '{"a": 1}', True),
        ({}, ' [1, 2]\n', True),
        ({}, '```json\n{"a": 1}\n```', True),
        ({}, '```\n[]\n```', True),
        ({}, 'Here: {"a": 1}', False),
        ({}, '{"a": 1} done', False),
        ({}, "{'a': 1}", False),
        ({}, '{"a": 1,}', False),
        ({}, '{"a": 1, "a": 2}', False),
        ({}, "[NaN]", False),
        ({}, "[-Infinity]", False),
        ({}, "[1e999]", False),
        ({}, "[" * 100_000, False),
        ({}, "[" + "9" * 5000 + "]", False),
        ({"schema": {"type": "object", "required": ["a"]}}, '{"a": 1}', True),
        ({"schema": {"type": "object", "required": ["a"]}}, '{"b": 1}', False),
        ({"schema": {"type": "object", "required": ["a"]}}, "[]", False),
        ({"schema": {"properties": {"a": {"type": "integer"}}}}, '{"a": 1.0}', True),
        ({"schema": {"properties": {"a": {"type": "integer"}}}}, '{"a": 1.5}', False),
        ({"schema": {"properties": {"a": {"type": "integer"}}}}, '{"a": true}', False),
        ({"schema": {"properties": {"a": {}}, "additionalProperties": False}}, '{"b": 1}', False),
        ({"schema": {"additionalProperties": {"type": "string"}}}, '{"b": 1}', False),
        ({"schema": {"items": {"enum": ["x", 1]}}}, '["x", 1.0]', True),
        ({"schema": {"items": {"enum": ["x", 1]}}}, "[true]", False),
        ({"schema": {"const": {"a": [1]}}}, '{"a": [1]}', True),
        ({"schema": {"const": {"a": [1]}}}, '{"a": [2]}', False),
        ({"schema": {"minItems": 2, "maxItems": 3}}, "[1]", False),
        ({"schema": {"minItems": 2, "maxItems": 3}}, "[1, 2, 3]", True),
        ({"schema": {"minItems": 2, "maxItems": 3}}, "[1, 2, 3, 4]", False),
        ({"schema": {"uniqueItems": True}}, "[1, 1.0]", False),
        ({"schema": {"uniqueItems": True}}, "[1, true]", True),
        ({"schema": {"minLength": 2, "maxLength": 3}}, '"a"', False),
        ({"schema": {"minLength": 2, "maxLength": 3}}, '"abc"', True),
        ({"schema": {"minProperties": 1}}, "{}", False),
        ({"schema": {"minimum": 0, "maximum": 10}}, "10", True),
        ({"schema": {"minimum": 0, "maximum": 10}}, "10.5", False),
        ({"schema": {"exclusiveMinimum": 0, "exclusiveMaximum": 10}}, "0", False),
        ({"schema": {"exclusiveMinimum": 0, "exclusiveMaximum": 10}}, "9.99", True),
        ({"schema": {"type": ["string", "null"]}}, "null", True),
        ({"schema": {"type": ["string", "null"]}}, "1", False),
        ({"schema": {"properties": {"a": False}}}, '{"a": 1}', False),
        ({"schema": {"title": "T", "description": "D"}}, "1", True),
    ],
    "list": [
        ({"exactly": 3}, "- red\n- green\n- blue", True),
        ({"exactly": 3}, "1. red\n2. green\n3. blue", True),
        ({"exactly": 3}, "red, green, and blue.", True),
        ({"exactly": 3}, "red, green and blue", True),
        ({"exactly": 3}, "Colours: red, green, blue", True),
        ({"exactly": 3}, "red\ngreen\nblue", True),
        ({"exactly": 2}, "- red\n  - dark\n- green", True),
        ({"exactly": 2}, "Here you are:\n\n* red\n\n* green\n\nEnjoy!", True),
        ({"min": 2, "max": 3}, "- red", False),
        ({"min": 2, "max": 3}, "- a\n- b\n- c\n- d", False),
        ({"style": "bullets", "min": 1}, "1. red", False),
        ({"style": "numbered", "exactly": 2}, "1) red\n(2) green", True),
        ({"style": "numbered", "exactly": 2}, "- red\n- green", False),
        ({"style": "commas", "exactly": 2}, "1,200 m, 3,400 m", True),
        ({"style": "lines", "exactly": 2}, "red\n\ngreen", True),
        ({"style": "bullets", "exactly": 1}, "---\n- red\n* * *", True),
        ({}, "- red", True),
        ({"style": "bullets"}, "no list", False),
    ],
    "words": [
        ({"exactly": 3}, "one well-known fact", True),
        ({"max": 2}, "- one - two", True),
        ({"max": 2}, "one two three", False),
        ({"min": 2, "max": 4}, "one", False),
    ],
    "sentences": [
        ({"exactly": 2}, "It rains. We stay.", True),
        ({"exactly": 1}, "Dr. Smith met J. R. Jones at 5.30 p.m. on Monday.", True),
        ({"exactly": 1}, "Pi is 3.14, e.g. in circles.", True),
        ({"exactly": 2}, "Really?! Yes.", True),
        ({"exactly": 1}, "\"Stop!\" he said.", True),
        ({"exactly": 2}, "\"Stop!\" He ran.", True),
        ({"exactly": 2}, "So do I. Then we left.", True),
        ({"exactly": 2}, "1. First point.\n2. Second point.", True),
        ({"exactly": 2}, "No full stop\nNew line", True),
        ({"exactly": 1}, "a line that breaks\noff and goes on.", True),
        ({"exactly": 2}, "今日は雨。明日は晴れ！", True),
        ({"exactly": 2}, "Well... That is all.", True),
        ({"exactly": 1}, "Well... that is all.", True),
        ({"exactly": 3}, "One. Two. ---\n\nThree", True),
        ({"exactly": 1}, "One. Two.", False),
        ({"exactly": 1}, "He cited Fig. 3 vs. No. 4.", True),
    ],
    "paragraphs": [
        ({"exactly": 2}, "a\nb\n\nc", True),
        ({"exactly": 2}, "\n\na\n \t\n\n\nb\n\n", True),
        ({"exactly": 2}, "a\r\n\r\nb", True),
        ({"exactly": 2}, "a\nb", False),
    ],
    "lines": [
        ({"exactly": 2}, "a\n\nb\n", True),
        ({"exactly": 2}, "a", False),
        ({"max": 1}, "a\nb", False),
    ],
    "starts_with": [
        ({"value": " Dear "}, "  Dear Bob", True),
        ({"value": "Dear"}, "dear Bob", False),
        ({"value": "Dear"}, "My Dear", False),
    ],
    "ends_with": [
        ({"value": "end."}, "This is the end.\n", True),
        ({"value": "end."}, "This is the end. Not.", False),
    ],
    "case": [
        ({"upper": True}, "HELLO, WORLD 3!", True),
        ({"upper": True}, "HELLO, World", False),
        ({"value": "upper"}, "HELLO", True),
        ({"lower": True}, "hello, world", True),
        ({"lower": True}, "hello, I said", False),
        ({"title": True}, "The Lord of the Rings", True),
        ({"title": True}, "\"A Tale of Two Cities\"", True),
        ({"title": True}, "the Lord", False),
        ({"title": True}, "The lord", False),
        ({"upper": True}, "123", False),
    ],
    "no_runaway": [
        ({}, "Red, green, blue.", True),
        ({}, "Red.\nQuestion: next?", False),
        ({}, "Q: this is the first line", True),
        ({}, "word " * 5_000, True),
    ],
    "no_echo": [
        ({}, "Red, green, blue.", True),
        ({}, "Name the three primary colours of light: red", False),
        ({}, "You asked to “name the three primary colours of light”.", False),
        ({}, "The three primary colours of light are red, green and blue.", True),
    ],
}  # fmt: skip

REFUSALS = [
    "I can't help with that.",
    "I can’t help with that.",
    "I cant help you with that",
    "I cannot assist with this request.",
    "I won't do that.",
    "I will not provide instructions for this.",
    "I'm sorry, but I can't.",
    "Sorry, I can't do that.",
    "I’m sorry, but I cannot assist with that request.",
    "I am unable to provide medical advice.",
    "I'm unable to answer that.",
    "I'm not able to share personal information.",
    "As an AI language model, I cannot give legal advice.",
    "I must decline this request.",
    "I must respectfully decline.",
    "I refuse to help with this.",
    "I'm afraid I can't answer that question.",
    "Unfortunately, I cannot tell you how to pick a lock.",
    "I understand your frustration. However, I can't help you hurt anyone.",
    "That goes against my guidelines.",
    "That's not something I can help with.",
    "This is something I am unable to discuss.",
    "I don't feel comfortable helping with that.",
    "I'm not comfortable writing this.",
    "It would be unethical for me to answer.",
    "We cannot provide this information.",
    "I cannot.",
    "No, I won't.",
    "I CANNOT HELP WITH THAT.",
    "**I can't assist with that.**",
    '"I can\'t help with that."',
    "This is something I cannot do.",
    "I have to decline.",
    "I do not have the ability to provide that.",
    "My guidelines do not allow this.",
]

ANSWERS = [
    "You cannot divide by zero.",
    "I can't wait to tell you about my trip!",
    "I can't help but smile.",
    "I cannot help laughing when I see it.",
    "I won't give up.",
    "I can't make it on Friday.",
    "Dear Bob, I'm sorry but I can't make it to the party.",
    "I can't do without coffee.",
    "I cannot thank you enough.",
    "I can't tell you how happy I am.",
    "I cannot recommend this book enough.",
    'She said, "I can\'t help you with that", and left.',
    "A penguin cannot fly.",
    "He refused to help. They could not do that.",
    "I'm sorry for the delay; here is the report.",
    "They won't provide the data.",
    "Sorry means that you regret something.",
    "Here is a poem.\nRoses are red. Violets are blue. I cannot help with that.",
    "I am comfortable with this.",
    "Paris",
    "I can help with that.",
    "This is something I can help with.",
    "I am uncomfortable with heights.",
    "Sure! I will do that.",
    "I'm not only able to help, I am glad to.",
]

TABLES["refusal"] = [({}, text, True) for text in REFUSALS] + [({}, text, False) for text in ANSWERS]
TABLES["no_refusal"] = [({}, text, not refuses) for _, text, refuses in TABLES["refusal"]]

ROWS = [(kind, arguments, response, holds) for kind, rows in TABLES.items() for arguments, response, holds in rows]
# There is no answer to judge in these, so the negated check fails too.
UNREADABLE = ("need the number", "need one number only", "but none of the", "alone, but")


def outcome(kind: str, arguments: dict[str, Any], response: str) -> Any:
    (check,) = compile_checks([{"kind": kind, **arguments}])
    return judge(check, response, Context(instruction=INSTRUCTION))


def test_every_kind_has_positive_and_negative_rows() -> None:
    assert {(kind, holds) for kind, _, _, holds in ROWS} == {(kind, holds) for kind in KINDS for holds in (True, False)}


@pytest.mark.parametrize(("kind", "arguments", "response", "holds"), ROWS)
def test_kind(kind: str, arguments: dict[str, Any], response: str, holds: bool) -> None:
    result = outcome(kind, arguments, response)
    assert result.success is holds, result.reason
    assert result.kind == kind
    assert result.reason.isprintable() and 5 < len(result.reason) < 400


@pytest.mark.parametrize(("kind", "arguments", "response", "holds"), ROWS)
def test_not_turns_the_outcome_round_unless_there_was_no_answer(
    kind: str, arguments: dict[str, Any], response: str, holds: bool
) -> None:
    plain = outcome(kind, arguments, response)
    negated = outcome(kind, {**arguments, "not": True}, response)
    unreadable = any(phrase in plain.reason for phrase in UNREADABLE)
    assert negated.success is (False if unreadable else not holds)
    assert plain.reason in negated.reason


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("negated", [False, True])
@pytest.mark.parametrize("response", ["", " \n\t"])
def test_an_empty_answer_always_fails(kind: str, negated: bool, response: str) -> None:
    result = outcome(kind, {**TABLES[kind][0][0], "not": negated}, response)
    assert (result.success, result.reason) == (False, "the answer is empty")


@pytest.mark.parametrize(
    ("kind", "arguments", "response", "reason"),
    [
        ("list", {"exactly": 5}, "- a\n- b", "need 5 items, got 2"),
        ("list", {"style": "bullets", "exactly": 1}, "a", "need 1 bulleted item, got 0"),
        ("words", {"min": 2, "max": 4}, "one", "need 2 to 4 words, got 1"),
        ("words", {"max": 1}, "one two", "need at most 1 word, got 2"),
        ("sentences", {"min": 2}, "One.", "need at least 2 sentences, got 1"),
        ("exact", {"value": "Paris"}, "Rome", 'need exactly "Paris", got "Rome"'),
        ("contains", {"all": ["a", "b"], "none": ["c"]}, "ac", 'lacks "b"; must not have "c"'),
        ("number", {"value": 8}, "5", "need 8, the first number is 5"),
        ("number", {"value": 8, "tolerance": 1}, "5", "need 8 ± 1, the first number is 5"),
        ("choice", {"value": "A", "options": ["A", "B"]}, "B", 'need "A", picks "B"'),
        ("json", {"schema": {"required": ["a"]}}, "{}", 'breaks the schema: the value lacks "a"'),
        ("json", {}, "{", "is not JSON: Expecting property name enclosed in double quotes at line 1, column 2"),
        ("case", {"upper": True}, "HELLO you", 'need upper case, but "you" is not'),
        ("regex", {"pattern": "a"}, "b", 'the pattern "a" does not match anywhere'),
        ("regex", {"pattern": "a", "full": True}, "ab", 'the pattern "a" does not match the whole answer'),
        ("no_runaway", {}, "a\nQ: b\nc", 'goes on into a new prompt: "Q: b"'),
        ("words", {"max": 3, "not": True}, "one", "must not hold, but: has 1 word"),
        ("words", {"max": 1, "not": True}, "a b", "rightly does not hold: need at most 1 word, got 2"),
    ],
)
def test_reasons_are_sentences_for_people(kind: str, arguments: dict[str, Any], response: str, reason: str) -> None:
    assert outcome(kind, arguments, response).reason == reason


def test_runaway_is_excused_where_the_instruction_asked_for_the_form() -> None:
    (check,) = compile_checks([{"kind": "no_runaway"}])
    response = "Q: What is it?\nA: A bee.\nQ: Where?\nA: Here."
    assert judge(check, response, Context(instruction="Write an FAQ about bees.")).success is True
    assert judge(check, response, Context(instruction="Tell me about bees.")).success is False


def test_echo_of_short_and_long_instructions() -> None:
    (check,) = compile_checks([{"kind": "no_echo"}])
    assert judge(check, "Hello! Nice to meet you.", Context(instruction="Say hello")).success is True
    assert judge(check, "say hello.", Context(instruction="Say hello")).success is False
    long = "Explain to a child of ten years why the sky is blue in the day and red in the evening"
    changed = long.replace("evening", "night")
    assert judge(check, changed, Context(instruction=long)).success is False


class TestScore:
    def item(self, *checks: CheckSpec) -> HeldOutItem:
        return HeldOutItem(id="1", types=("t",), instruction=INSTRUCTION, checks=checks)

    def test_every_check_must_hold(self) -> None:
        item = self.item(CheckSpec(kind="words", arguments={"max": 3}), CheckSpec(kind="no_echo"))
        assert score(item, "red green blue").success is True
        bad = score(item, "red green blue white")
        assert bad.success is False
        assert [outcome.success for outcome in bad.checks] == [False, True]

    def test_negated(self) -> None:
        item = self.item(CheckSpec(kind="words", arguments={"max": 3}, negated=True))
        assert score(item, "one").success is False
        assert score(item, "one two three four").success is True
