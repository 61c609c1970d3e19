"""Counting what is right: exact answers, and the character error rate (edits over the reference's length)."""

from collections import defaultdict
from dataclasses import dataclass


def edits(a: str, b: str) -> int:
    """Levenshtein distance."""
    if a == b:
        return 0
    row = list(range(len(b) + 1))
    for i, x in enumerate(a):
        new = [i + 1]
        for j, y in enumerate(b):
            new.append(min(row[j] + (x != y), row[j + 1] + 1, new[j] + 1))
        row = new
    return row[-1]


def conclusion(answer: str) -> str:
    """The part of a comparison's answer that concludes; several differences may come in any order."""
    for mark in ("The difference", "There is no difference", "There are ", "Both images", "All three", "They have"):
        if mark in answer:
            said = answer[answer.index(mark) :].replace("Another difference is", "The difference is")
            return "".join(sorted(part.strip() for part in said.split("The difference is")))
    for name in ("first", "second", "third"):
        at = answer.rfind(f"The {name} image is different")
        if at >= 0:
            return answer[at:]
    return answer


TEXTUAL = ("text", "paragraph", "sign", "title and author", "receipt", "chart", "table", "markdown", "json", "form")


def groups(task: str, unseen_wording: bool, unseen_faces: bool) -> list[str]:
    """The rows of the table that an answer counts in."""
    out = [task, "all"]
    if unseen_wording:
        out.append("all, unseen wordings")
    if unseen_faces and task in TEXTUAL:
        out += ["all reading, unseen fonts", f"{task}, unseen fonts"]
    elif task in TEXTUAL:
        out.append("all reading, fonts of the training")
    return out


@dataclass
class Score:
    """Sums over answers."""

    count: int = 0
    exact: int = 0
    concluded: int = 0
    edits: int = 0
    length: int = 0

    @property
    def cer(self) -> float:
        """Character error rate."""
        return self.edits / max(1, self.length)


class Table:
    """Scores by task."""

    def __init__(self) -> None:
        self.scores: dict[str, Score] = defaultdict(Score)

    def add(self, names: list[str], reference: str, answer: str) -> None:
        """Count an answer under each of some names."""
        distance = edits(answer, reference)
        for name in names:
            s = self.scores[name]
            s.count += 1
            s.exact += answer == reference
            s.concluded += conclusion(answer) == conclusion(reference)
            s.edits += distance
            s.length += len(reference)

    def markdown(self) -> str:
        """The table as it stands in the model card."""
        lines = ["| task | answers | exact | conclusion right | CER |", "|---|---:|---:|---:|---:|"]
        for name, s in sorted(self.scores.items()):
            concluded = f"{100 * s.concluded / s.count:.1f} %" if name.startswith("compare") else ""
            exact = f"{100 * s.exact / s.count:.1f} %"
            lines.append(f"| {name} | {s.count} | {exact} | {concluded} | {100 * s.cer:.2f} % |")
        return "\n".join(lines)
