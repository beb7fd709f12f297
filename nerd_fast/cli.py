"""The `nerd-fast` command. Nothing heavy is imported before a command runs, so that `--help` answers at once."""

import argparse
import os
import signal
import sys
import tempfile
import traceback
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, fields
from importlib import import_module
from typing import Union, get_args, get_origin, get_type_hints

from nerd_fast import __version__
from nerd_fast.segmentation.base.errors import Interrupted, NerdFastError, UsageError
from nerd_fast.segmentation.base.output import PatientOutput

# name: (what it does, its module, whose `run` takes its options; the class of these, None where it has none)
COMMANDS = {
    "doctor": ("versions, devices, and which backend a head would use here", "doctor", None),
    "verify": (
        "check a data set before anything is trained on it",
        "segmentation.commands.verify",
        "VerifyOptions",
    ),
    "train": (
        "train a U-Net with the 1x1 convolution or a NeRD head",
        "segmentation.commands.train",
        "TrainConfig",
    ),
    "evaluate": ("per-case and mean metrics of a run", "segmentation.commands.evaluate", "EvaluateOptions"),
    "predict": (
        "masks as NIfTI in the geometry of the input",
        "segmentation.commands.predict",
        "PredictOptions",
    ),
    "reproduce": (
        "the paper's tables and figures on your data",
        "segmentation.study.reproduce",
        "ReproduceOptions",
    ),
    "diagnose": (
        "how the last features of runs depend on position",
        "segmentation.commands.diagnose",
        "DiagnoseOptions",
    ),
    "report": ("one HTML file about evaluated runs", "segmentation.commands.report", "ReportOptions"),
    "export": (
        "weights as safetensors, and a program that runs without this package",
        "segmentation.commands.export",
        "ExportOptions",
    ),
    "nnunet": ("print the folder of nnU-Net trainers, for nnUNet_extTrainer", "nnunet.folder", None),
    "demo": (
        "synthetic data, four networks, their table and figures",
        "segmentation.commands.demo",
        "DemoOptions",
    ),
}


def main(arguments=None):
    """Run one command and return its exit code.

    0 ok, 2 usage, the machine or a fault of our own, 3 data, 4 checkpoint, 5 not finite, 130 and 143 interrupted by
    SIGINT and SIGTERM.
    """
    # Before PyTorch is loaded, which reads it once: threads that wait for one another sleep. Where they spin, a second
    # training on the same cores makes a step of a head ten times as slow (docs/cpu.md).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    output, messages = PatientOutput(sys.stdout), PatientOutput(sys.stderr, gone=OSError)
    with redirect_stdout(output), redirect_stderr(messages):
        try:
            return _run(arguments)
        finally:
            output.finish()


def _run(arguments):
    top = _top_parser().parse_args(arguments)
    try:
        code = _command(top) or 0
        sys.stdout.flush()  # a table that the disk does not hold is an error
        return code
    except Interrupted as interruption:
        remedy = "continue with --resume" if top.command == "train" else "the same command continues"
        print(f"nerd-fast {top.command}: {interruption}; {remedy}", file=sys.stderr)
        return interruption.exit_code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception as error:
        if top.debug:
            traceback.print_exc()
        message, code = _told(top, error)
        print(f"nerd-fast {top.command}: {message}", file=sys.stderr)
        return code


def _command(top):
    _, module, options_class = COMMANDS[top.command]
    command = import_module(f"nerd_fast.{module}")
    if options_class is None:
        _parser(top.command, COMMANDS[top.command][0]).parse_args(top.rest)  # --help, and nothing else
        return command.run()
    return command.run(_parse_options(top.command, getattr(command, options_class), top.rest))


def _told(top, error):
    """What to say of an error, and the exit code."""
    if isinstance(error, NerdFastError):
        return str(error), error.exit_code
    if isinstance(error, (OSError, MemoryError)):  # of this machine, whatever the command was doing
        return str(error) or "this machine has too little memory for it", UsageError.exit_code
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("nerd_fast"):
        return f"needs {error.name}: pip install '.[train]' in a checkout of nerd-fast", UsageError.exit_code
    reason = "".join(traceback.format_exception_only(error)).strip()
    kept = "above" if top.debug else _kept_traceback(top.command)
    return f"a fault of this program, not of what it was given: {reason}. Its traceback is {kept}", UsageError.exit_code


def _kept_traceback(command):
    """Where the traceback of the exception that is being handled can be read: in a new file, or printed before."""
    try:
        descriptor, path = tempfile.mkstemp(prefix=f"nerd-fast-{command}-", suffix=".txt")
        with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            traceback.print_exc(file=file)
    except OSError:
        traceback.print_exc()
        return "above"
    return f"in {path}"


def _top_parser():
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {text}" for name, (text, *_) in COMMANDS.items()]
    parser = argparse.ArgumentParser(
        prog="nerd-fast",
        description="U-Nets with NeRD segmentation heads.",
        epilog="commands:\n" + "\n".join(lines) + "\n\n'nerd-fast COMMAND --help' lists the options of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"nerd-fast {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="...")
    return parser


def _parse_options(command, options_class, arguments):
    parser = _options_parser(command, options_class)
    try:
        options = _instance(options_class, parser.parse_args(arguments))
    except UnicodeDecodeError as error:
        raise UsageError(f"--config: found a file that is no text ({error.reason}), expected YAML") from error
    if getattr(options, "resume", False):
        # What the run was started with is the default of what it is resumed with.
        from nerd_fast.segmentation.runs.runs import resumed

        parser.set_defaults(asdict(resumed(options.out)))
        options = _instance(options_class, parser.parse_args(arguments))
    return options


def _options_parser(command, options_class):
    positional = [entry.name.upper() for entry in fields(options_class) if entry.metadata.get("positional")]
    usage = " ".join(["nerd-fast", command, *positional, "[options]"])
    parser = _parser(command, options_class.__doc__, usage=usage)
    parser.add_argument("--config", action="config", help="YAML file of options; those given after it win")
    types = get_type_hints(options_class)
    for entry in fields(options_class):
        _add_option(parser, entry, types[entry.name])
    return parser


def _parser(command, description, **keywords):
    from jsonargparse import ArgumentParser

    return ArgumentParser(prog=f"nerd-fast {command}", description=description, allow_abbrev=False, **keywords)


def _add_option(parser, entry, kind):
    name = f"--{entry.name.replace('_', '-')}"
    if entry.metadata.get("positional"):
        parser.add_argument(entry.name, type=kind, help=entry.metadata["help"])
        return
    required = " (required)" if entry.metadata.get("required") else ""
    keywords = {"help": entry.metadata["help"] + required, "default": _default(entry)}
    if kind in (bool, bool | None):
        parser.add_argument(name, action=argparse.BooleanOptionalAction, **keywords)
        return
    item = _item_of_list(kind)
    if item:
        keywords["nargs"] = entry.metadata.get("nargs", "+")
    parser.add_argument(name, type=item or kind, **keywords)


def _item_of_list(kind):
    """The element type of list[T] and list[T] | None; None for anything else."""
    options = get_args(kind) if get_origin(kind) in (Union, type(int | None)) else (kind,)
    return next((get_args(option)[0] for option in options if get_origin(option) is list), None)


def _default(entry):
    return entry.default_factory() if callable(entry.default_factory) else entry.default


def _instance(options_class, namespace):
    return options_class(**{entry.name: getattr(namespace, entry.name) for entry in fields(options_class)})
