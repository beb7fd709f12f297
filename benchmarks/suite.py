"""One run: what was selected, what has been measured so far. A case is measured once, for all its peers together."""

from benchmarks import bandwidth, device, heads, results


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

    def row(self, case, peer):
        """The row of a peer in a case, its case measured when the first of its peers asks."""
        if case not in self._cases:
            rows, seconds = heads.measure(
                case, self.wanted[case], self.selection.device, self.selection.effort, self.copy_gbps
            )
            self.results["heads"] += rows
            self._cases[case] = {row["peer"]: row for row in rows}
            self._seconds[case] = seconds
        return self._cases[case][peer]

    def seconds(self, case, peer, mode):
        """Every measured time of a mode, in seconds."""
        return self._seconds[case][peer][mode].device

    def extra_info(self, row, mode):
        """What pytest-benchmark's JSON says beside a time."""
        return {
            "device": self.results["device"],
            "copy_gbps": self.copy_gbps,
            "parity_error": {name: value for name, value in row["parity"].items() if name != "passed"},
            "memory_mib": row["memory_mib"].get("inference" if mode == "inference" else "training"),
            **row["modes"][mode],
        }
