"""The folder that nnU-Net is pointed at, and the command that prints it."""

import ast

from nerd_fast import cli
from nerd_fast.nnunet import trainers_folder


def test_the_folder_holds_the_trainers_and_nothing_else():
    (file,) = (path for path in trainers_folder().iterdir() if path.name != "__pycache__")
    classes = [node.name for node in ast.parse(file.read_text()).body if isinstance(node, ast.ClassDef)]
    assert classes == [
        "nnUNetTrainerNeRDm",
        "nnUNetTrainerNeRDc",
        "nnUNetTrainerNeRDmNoMirroring",
        "nnUNetTrainerNeRDcNoMirroring",
    ]


def test_the_command_prints_the_folder_alone(capsys):
    assert cli.main(["nnunet"]) == 0
    assert capsys.readouterr().out == f"{trainers_folder()}\n"
