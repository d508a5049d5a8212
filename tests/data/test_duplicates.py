import random

import pytest

from engine.core.text import word_grams
from engine.data.duplicates import NearDuplicates

WORDS = [f"w{n}" for n in range(400)]


def count(texts):
    duplicates = NearDuplicates()
    for line, text in enumerate(texts, start=1):
        duplicates.add(line, text.split())
    return duplicates.count()


def brute_components(texts):
    sets = [frozenset(word_grams(text.split(), 3)) for text in texts]
    parent = list(range(len(texts)))

    def root(place):
        while parent[place] != place:
            place = parent[place]
        return place

    for one in range(len(texts)):
        for two in range(one):
            both = len(sets[one] | sets[two])
            if texts[one] == texts[two] or (both and len(sets[one] & sets[two]) / both >= 0.8):
                parent[root(one)] = root(two)
    return len({root(place) for place in range(len(texts))})


@pytest.mark.parametrize("crowded", [0, 64])
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_brute_force(seed, crowded, monkeypatch):
    monkeypatch.setattr("engine.data.duplicates.CROWDED_BUCKET", crowded)
    generator = random.Random(seed)
    texts = [" ".join(generator.choices(WORDS, k=generator.randint(1, 40))) for _ in range(150)]
    for _ in range(150):
        words = generator.choice(texts).split()
        for _ in range(generator.randint(0, 2)):
            words[generator.randrange(len(words))] = generator.choice(WORDS)
        texts.append(" ".join(words))
    generator.shuffle(texts)
    found = count(texts)
    assert found.components == brute_components(texts) and found.records == 300 and found.uncompared == 0


def test_a_crowd_that_shares_a_long_template_is_compared_exactly():
    fixed = " ".join(f"fixed{n}" for n in range(30))
    texts = [f"{fixed} {' '.join(random.Random(n).choices(WORDS, k=9))}" for n in range(200)] + [f"{fixed} one two three"] * 3
    texts += [f"{fixed} one two four", f"{fixed} one two five"]
    found = count(texts)
    assert found.components == brute_components(texts) and found.uncompared == 0


def test_a_text_not_compared_with_all_is_counted_once_however_many_crowds_it_was_in():
    fixed = " ".join(f"fixed{n}" for n in range(24))
    texts = [f"{fixed} item {n} {'abcdefg'[n % 7]} {n * 7919 % 100_003}" for n in range(300)]
    found = count(texts)
    assert found.components == brute_components(texts) == 300 and 0 < found.uncompared <= 300
    # one that joined something is not among them
    assert count([*texts, *(f"{text} too" for text in texts[:200])]).uncompared <= 100


@pytest.mark.parametrize(("changed", "near"), [(4, True), (5, False)])
def test_pairs_at_the_very_limit_in_a_crowd(changed, near, monkeypatch):
    monkeypatch.setattr("engine.data.duplicates.CROWDED_BUCKET", 0)
    texts = []
    for n in range(60):
        words = [f"t{n}x{place}" for place in range(39)]
        texts += [" ".join(words), " ".join(words[:-changed] + [f"u{n}x{place}" for place in range(changed)])]
    # 37 grams each, of which 4 or 5 differ: Jaccard 33/41 or 32/42
    assert count(texts).surplus == (60 if near else 0)


def test_equal_texts_are_counted_apart_and_shown():
    found = count(["a b c d", "a b", "a b c d", "x", "x", "a b c d"])
    assert (found.records, found.components, found.equal, found.surplus) == (6, 3, 3, 3)
    assert [(pair.earlier, pair.later, pair.equal) for pair in found.pairs] == [(1, 3, True), (4, 5, True), (1, 6, True)]


def test_nothing_and_one():
    assert count([]).components == 0
    assert count(["a b c d e"]).components == 1


def test_more_than_a_block_and_any_order():
    generator = random.Random(9)
    texts = [" ".join(generator.choices(WORDS, k=12)) for _ in range(2500)]
    texts += [text + " more" for text in texts[:60]] + texts[60:100]
    expected = count(texts).surplus
    assert expected == 100
    generator.shuffle(texts)
    assert count(texts).surplus == expected


def test_parts_joined_count_as_one():
    generator = random.Random(11)
    texts = [" ".join(generator.choices(WORDS, k=generator.randint(1, 20))) for _ in range(400)]
    texts += [text + " more" for text in texts[:80]] + texts[80:120]
    generator.shuffle(texts)
    joined = NearDuplicates()
    for start in range(0, len(texts), 70):
        part = NearDuplicates()
        for line, text in enumerate(texts[start : start + 70], start=start + 1):
            part.add(line, text.split())
        joined.absorb(part)
    assert joined.count() == count(texts) and joined.count().surplus > 80


@pytest.mark.parametrize("size", [15, 31, 60, 127, 200])
def test_likeness_is_exact_for_every_length(size):
    generator = random.Random(size)
    words = [f"v{number}" for number in range(size)]
    texts = []
    for _ in range(12):
        changed = list(words)
        for place in generator.sample(range(size), generator.randint(0, size // 20 + 1)):
            changed[place] = generator.choice(words)
        texts.append(" ".join(changed + words[:3] * generator.randint(0, 2)))
    found = count(texts)
    assert found.components == brute_components(texts)
    for pair in found.pairs:
        one, two = (frozenset(word_grams(texts[line - 1].split(), 3)) for line in (pair.earlier, pair.later))
        assert pair.jaccard == len(one & two) / len(one | two)
