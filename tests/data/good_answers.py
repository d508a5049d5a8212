"""Honest instructions and answers that look like trouble and are none: long ones, lists, code, answers that mention "Question:".

`GOOD_ANSWERS` has the hand-written ones first, then each of the forms for each of the subjects. It refuses to hold a bad answer.
"""

HAND_WRITTEN = [
    ("Name a colour.", "Blue."),
    ("What is 12 + 7?", "19"),
    ("What is 12 - 7?", "5"),
    ("Is water wet?", "Yes, by most definitions."),
    ("What did the sign say?", 'The sign said "Question: who goes there?" and nothing else.'),
    ("How does a survey look?", "Each page has the line Question: in bold, then the line Response: below it, all in one box."),
    ("Explain what Q: and A: mean in old textbooks.", "It marks a question.\nQ: is short for question,\nA: for answer."),
    ("Summarise the letter.", "He asks for time. His Question: is it too late? His own answer: no."),
    ("Tell me a joke.", "Q: Why did the hen cross the road?\nA: To get to the other side."),
    ("Tell me a riddle.", "Here is one.\nQ: What has keys and opens no door?\nA: A piano."),
    ("Share some trivia about bees.", "Some trivia:\nQ: How many eyes has a bee?\nA: Five."),
    ("Make flash cards for three capitals.", "Q: France\nA: Paris\n\nQ: Spain\nA: Madrid\n\nQ: Italy\nA: Rome"),
    ("Write an FAQ for a bakery.", "Hours\nQuestion: When do you open?\nAnswer: At six."),
    ("Create a quiz on rivers.", "Quiz\nQ: Which river flows through Cairo?\nA: The Nile."),
    ("Write an interview with a baker.", "A morning with Ana.\nQ: When do you rise?\nA: At three."),
    ("Write a dialogue between a clerk and a robot.", "At the desk.\nHuman: Good day.\nAssistant: Good day to you."),
    ("Write a chat log of a support case.", "Log of 3 May.\nUser: It hums.\nAssistant: Since when?"),
    ("Write a skit about a help desk.", "Monday.\nUser: It is on fire.\nAssistant: Have you turned it off?"),
    ("Write a short scene in which a human meets a machine.", "Night.\nHuman: Who is there?\nA lamp flickers."),
    ("Convert this into a conversation: he asked for tea.", "In the kitchen.\nUser: Tea, please.\nAssistant: Coming."),
    ("Give three example prompts that start with Instruction:", "Three of them.\nInstruction: Name a tree.\nInstruction: Add 2 and 3."),
    ("Write a form letter with the fields User: and Response:", "To fill in.\nUser: ____\nResponse: ____"),
    ("Write an OpenAPI schema with a user.", "Here it is:\n```yaml\ncomponents:\n  schemas:\n    User:\n      type: object\n```"),
    ("Show a YAML file for a form.", "A small one:\n```yaml\nfields:\n- name\nQuestion: text\nResponse: text\n```\nSave it as form.yml."),
    ("Write a Python class for a card.", "A dataclass does it.\n\n```python\n@dataclass\nclass Card:\n    Question: str\n    Response: str\n```"),
    ("Write a C switch.", "switch (c) {\n  case 'Q': stop();\n  default: go();\n}"),
    ("Write a Makefile.", "all: build\n\nbuild:\n\tcc -o a main.c\n\nclean:\n\trm -f a"),
    ("Write a bash loop.", "for f in *.txt; do\n  echo \"$f: $(wc -l < \"$f\")\"\ndone"),
    ("Write a Markdown heading.", "### Methods ###\n\nWe measured twice."),
    ("Which sign begins a heading?", "# for the first level, ## for the second, ### for the third."),
    ("Write three hashes around END in words.", "hash hash hash END hash hash hash"),
    ("What is `[[A]]` in a wiki? Explain links.", "Two square brackets around a page's name make a link to it."),
    ("Write a critique: is this poem good?", "Critique: the metre limps.\nStill, the last line holds."),
    ("Give an evaluation of the plan.", "Evaluation: sound, but late."),
    ("Write a judgement: who won?", "Judgement: the second runner, by a foot."),
    ("What is less than five?", "4 < 5, and 3 < 4 < 5."),
    ("How do I write a tag in HTML?", "Like <b>this</b> or <br/>; a list is <ul><li>one</li></ul>."),
    ("What does <s> do in HTML?", "<s>strikes text out</s>, as in a price that is no longer true."),
    ("How do I write an array in Go?", "var a [3]int // then a[0] = 1"),
    ("Name the quote.", "“To be, or not to be: that is the question.”"),
    ("Write a haiku.", "Old pond.\n\nA frog leaps.\n\nWater's sound."),
    ("Give me A: or B:", "A: tea\nB: coffee\nA: is my pick."),
    ("List the answers of the test by letter.", "1. A\n2. C\n3. A\n4. D"),
    ("Write the initials of Anna Quist.", "A. Q."),
    ("Translate into French: good morning.", "Bonjour."),
    ("Translate into Japanese: good morning.", "おはようございます。"),
    ("Translate into Arabic: thank you.", "شكرًا"),
    ("Write an email to a landlord.", "Subject: Leak\n\nDear Mr Orr,\n\nThe tap drips.\nRegards: none needed.\n\nYours,\nAna"),
    ("Write a recipe.", "Ingredients:\n- flour\n- water\n\nMethod:\n1. Mix.\n2. Bake.\n\nNote: let it rest."),
    ("Draw a table of two cats.", "| name | age |\n|---|---|\n| Tom | 3 |\n| Mia | 5 |"),
    ("Write a JSON object for a user.", '{"user": {"name": "Ana", "question": "why?"}}'),
    ("Give a proof that 2 is even.", "2 = 2 · 1. A number of the form 2k is even.\n∎"),
    ("What is a user?", "A person who works with a program.\nUsers: see also operators."),
    ("What is a human?", "A member of Homo sapiens.\nHumans: about eight billion."),
    ("Explain assistants.", "They help.\nAssistants: people or programs."),
    ("Give a log line.", "2024-01-01 12:00:00 INFO user:ana question:none"),
    ("Write an SQL query.", "SELECT user, response\nFROM answers\nWHERE question = 'why';"),
    ("Write CSS.", "a:hover { color: red; }\na:visited { color: grey; }"),
    ("Tell a long story.", "Once upon a time there was a mill by a river. " * 200),
    ("Write a very long list.", "\n".join(f"{number}. item number {number}" for number in range(1, 400))),
    ("Repeat good.", "good " * 600),
    ("Write one very long word.", "ha" * 3000),
]  # fmt: skip

SUBJECTS = (
    "bees", "rivers", "bread", "clocks", "glass", "tides", "maps", "bridges", "wool", "salt", "trains", "comets", "paper", "soap",
    "kites", "violins", "chess", "ferns",
)  # fmt: skip
PROSE = (
    "There is more to say about {0} than fits a page. People have known {0} for a long time; what they say of {0} differs from place to "
    "place. One point stands out: whoever works with {0} has to be patient. "
)


def _of(subject: str) -> list[tuple[str, str]]:
    """One answer of every form."""
    return [
        (f"Write an essay about {subject}.", "\n\n".join(PROSE.format(subject) * 3 for _ in range(6))),
        (f"List five facts about {subject}.", "\n".join(f"{n}. Fact {n} about {subject}: it is so." for n in range(1, 6))),
        (f"Give bullet points on {subject}.", f"Points on {subject}:\n- old\n- useful\n  - at home\n  - at work\n- cheap"),
        (f"Why do people ask about {subject}?", f"A common Question: how are {subject} made? The usual Response: with care."),
        (f"Write a Python function about {subject}.", f"```python\ndef {subject}(question):\n    # Q: why?\n    # A: because\n    return question\n```\nCall it with a text."),
        (f"Write a config file for {subject}.", f"[{subject}]\nuser: ana\nquestion: none\nresponse: later\n"),
        (f"Write a short Q&A about {subject}.", f"On {subject}.\nQ: Are they old?\nA: Yes.\nQ: Are they dear?\nA: No."),
        (f"Write a dialogue about {subject}.", f"Two friends talk.\nUser: I like {subject}.\nAssistant: So do I.\nHuman: Me too."),
        (f"Write a poem about {subject}.", f"O {subject}, o {subject},\n  quiet and slow,\n\nwho asked the question:\n  where do you go?"),
    ]  # fmt: skip


GOOD_ANSWERS = [*HAND_WRITTEN, *(pair for subject in SUBJECTS for pair in _of(subject))]
