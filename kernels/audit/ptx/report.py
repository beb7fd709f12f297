"""What an execution found that a GPU would pass over in silence, by instruction."""

from collections import Counter


class Report:
    """findings: {(kind, instruction): (times, first example)}; notes: {text: times}, which are no faults."""

    def __init__(self):
        self.findings = {}
        self.notes = Counter()

    def find(self, kind, ins, times, example):
        before, first = self.findings.get((kind, str(ins)), (0, example))
        self.findings[kind, str(ins)] = before + times, first

    def note(self, what):
        self.notes[what] += 1

    def lines(self):
        return [
            f"{kind}: {ins}: {times} times, first {example}" for (kind, ins), (times, example) in self.findings.items()
        ]
