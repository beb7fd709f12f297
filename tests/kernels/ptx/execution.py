"""Every Launch of the kernels, run on a CPU as the PTX that is compiled for a GPU architecture."""

from nerd_fast.kernels import heads, launch
from nerd_fast.kernels.audit.ptx import launcher
from nerd_fast.kernels.audit.ptx.memory import Memory

ARCHITECTURES = (75, 80, 90, 120)

# (kernel, part of a finding, part of it): what a GPU resolves the same way each time, harmlessly.
TOLERATED = (
    # Threads that hold copies of an element all load it and one stores the sum: what a copy loads too late is dropped.
    ("calibrator_backward", "reads what another warp or block wrote, no barrier between", " of rows"),
)


class Findings(AssertionError):
    """What an execution found."""


def execute_on(architecture, monkeypatch, memory=None):
    """From here on every Launch runs as compiled for an architecture (80: sm_80) and raises the Findings it has."""
    capability = divmod(architecture, 10)
    memory = Memory() if memory is None else memory

    def run(self):
        report = launcher.execute(self, capability, memory)
        if found := [line for line in report.lines() if not tolerated(self.kernel.__name__, line)]:
            raise Findings("\n".join([f"{self.kernel.__name__} on sm_{architecture}:", *found]))

    monkeypatch.setattr(heads, "capability_of", lambda device: capability)
    monkeypatch.setattr(launch.Launch, "run", run)
    return memory


def tolerated(kernel, line):
    return any(kernel == name and kind in line and where in line for name, kind, where in TOLERATED)
