"""What every comparison's answer has in common: the images are described first, the conclusion comes then.

What the conclusion needs is by then written down, and a model this small can find it there.
"""

from ..picture import Answer, Question, Stress, stress

ORDER = ["first", "second", "third"]
SAME = {
    2: "There is no difference: both images are the same.",
    3: "There is no difference: all three images are the same.",
}


def both(parts: list[Answer]) -> Answer:
    """What each image shows, in one sentence; how many images there are is told from its first word."""
    if len(parts) == 2:
        return ["The first image shows ", *parts[0], ", while the second image shows ", *parts[1], ". "]
    first, second, third = parts
    start = Stress("Of the three images, the first shows ")
    return [start, *first, ", the second shows ", *second, " and the third shows ", *third, ". "]


def asked(kind: str, shown: Answer, conclusion: Answer, common: Answer | None) -> list[Question]:
    """The questions that every comparison has; ``kind`` is what evaluation counts them under."""
    end = stress(conclusion)
    out = [
        Question(f"compare: {kind}", "diff", [*shown, *end], weight=3),
        Question(f"compare: {kind}", "compare", [*shown, *end], weight=2),
    ]
    if common is not None:
        out.append(Question("compare: common", "common", [*shown, *stress(common)], weight=1))
    return out
