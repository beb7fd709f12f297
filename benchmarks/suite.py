"""One run: what was selected, what has been measured so far. A case is measured once, for all its peers together."""

from benchmarks import bandwidth, cold_start, device, heads, results, scaling, training_step


class Suite:
    """Measures on demand and keeps the rows.

    `wanted` maps each case to the peers that the collected tests ask for.
    """

    def __init__(self, selection, wanted):
        self.selection = selection
        self.wanted = wanted
        self.copy_gbps = bandwidth.copy_gbps(selection.device)
        self.results = results.empty(device.describe(selection.device), self.copy_gbps, selection.quick)
        self._seconds = {}
        self._cases = {}
        self._steps = None

    def row(self, case, peer):
        """The row of a peer in a case, its case measured when the first of its peers asks."""
        if case not in self._cases:
            selection = self.selection
            effort = selection.effort_of(case)
            rows, seconds = heads.measure(
                case, self.wanted[case], selection.device, effort, self.copy_gbps, self._trace_path(case)
            )
            self.results["heads"] += rows
            self._cases[case] = {row["peer"]: row for row in rows}
            self._seconds[case] = seconds
        return self._cases[case][peer]

    def seconds(self, case, peer, mode):
        """Every measured time of a mode, in seconds."""
        return self._seconds[case][peer][mode].device

    def step(self, head, whole):
        """The row of a U-Net step and its times in seconds, all steps measured when the first is asked for."""
        if self._steps is None:
            rows, times = training_step.measure(self.selection.peers, self.selection.device)
            self.results["steps"] += rows
            self._steps = {(r["head"], r["whole_compiled"]): (r, times.get(n)) for n, r in enumerate(rows)}
        return self._steps[head, whole]

    def measure_limits(self):
        self.results["limits"] += training_step.limits(self.selection.peers, self.selection.device)

    def measure_scaling(self, axis, case):
        """The rows of one point of the scaling plots."""
        rows = scaling.measure(axis, case, self.selection.peers, self.selection.device, self.copy_gbps)
        self.results["scaling"] += rows
        return rows

    def measure_cold_start(self):
        self.results["cold_start"] += cold_start.measure(self.selection.device)

    def extra_info(self, row):
        """What pytest-benchmark's JSON says beside any time."""
        errors = {name: value for name, value in row["parity"].items() if name != "passed"}
        return {"device": self.results["device"], "copy_gbps": self.copy_gbps, "parity_error": errors}

    def _trace_path(self, case):
        """Where each peer of a plain case writes its trace, when traces were asked for."""
        folder = self.selection.trace
        if folder is None or not case.is_plain:
            return None
        return lambda peer: folder / f"{case.workload.name}-{peer}.json"
