"""nnU-Net itself with our trainers: plan, preprocess, train, continue, fine-tune and predict on scans made here.

`make nnunet` runs them, in an environment that holds nnunetv2 (tested with 2.8.1) and the forty packages it brings.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from nerd_fast.nnunet import trainers_folder

pytest.importorskip("nnunetv2", reason="nnunetv2 is not installed")
pytestmark = pytest.mark.slow

DATASET = "Dataset901_Made"
TINY = Path(__file__).parent / "tiny_trainers"
ROOT = Path(__file__).parents[2]


class NnUNet:
    """nnU-Net's folders under one, and its commands in processes of their own."""

    def __init__(self, root):
        self.raw, self.results = root / "raw", root / "results"
        self.environment = {
            **os.environ,
            "nnUNet_raw": str(self.raw),
            "nnUNet_preprocessed": str(root / "preprocessed"),
            "nnUNet_results": str(self.results),
            "nnUNet_extTrainer": os.pathsep.join([str(TINY), str(trainers_folder())]),
            "nnUNet_n_proc_DA": "1",
            "nnUNet_def_n_proc": "1",
            "CUDA_VISIBLE_DEVICES": "",
        }

    def run(self, command, *arguments):
        program = Path(sys.executable).with_name(f"nnUNetv2_{command}")
        done = subprocess.run(
            [sys.executable, "-m", "tests.torchvision_operators", program, *map(str, arguments)],
            check=False,
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def train(self, configuration, trainer, *arguments):
        out = self.run("train", 901, configuration, 0, "-tr", trainer, "-device", "cpu", *arguments)
        return self.results / DATASET / f"{trainer}__nnUNetPlans__{configuration}" / "fold_0", out

    def predict(self, configuration, trainer, out, *arguments):
        where = ("-i", self.raw / DATASET / "imagesTs", "-o", out, "-d", 901, "-c", configuration, "-tr", trainer)
        self.run("predict", *where, "-f", 0, "-device", "cpu", "-npp", 1, "-nps", 1, *arguments)
        (mask,) = out.glob("*.nii.gz")
        return np.asarray(nibabel.load(mask).dataobj)


@pytest.fixture(scope="module")
def nnunet(tmp_path_factory):
    """A planned and preprocessed data set of six scans with a bright ball."""
    made = NnUNet(tmp_path_factory.mktemp("nnunet"))
    random = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*map(np.arange, (24, 40, 40)), indexing="ij"))
    for number in range(6):
        centre = random.uniform(10, 14, 3)[:, None, None, None]
        ball = ((grid - centre) ** 2).sum(0) < 36
        image = random.normal(size=ball.shape) + 4 * ball
        folders = ("imagesTs",) if number == 5 else ("imagesTr", "labelsTr")
        for folder in folders:
            path = made.raw / DATASET / folder
            path.mkdir(parents=True, exist_ok=True)
            values, name = (ball, f"c{number}") if folder == "labelsTr" else (image, f"c{number}_0000")
            kind = np.uint8 if folder == "labelsTr" else np.float32
            nibabel.save(nibabel.Nifti1Image(values.astype(kind), np.eye(4)), path / f"{name}.nii.gz")
    described = {"channel_names": {"0": "MR"}, "labels": {"background": 0, "ball": 1}, "numTraining": 5}
    (made.raw / DATASET / "dataset.json").write_text(json.dumps({**described, "file_ending": ".nii.gz"}))
    made.run("plan_and_preprocess", "-d", 901, "-c", "2d", "3d_fullres", "-np", 1, "-npfp", 1)
    return made


@pytest.fixture(scope="module")
def trained(nnunet):
    """NeRDm trained in 2d from the weights of a plain network."""
    plain, _ = nnunet.train("2d", "nnUNetTrainerTiny")
    return nnunet.train("2d", "nnUNetTrainerNeRDmTiny", "-pretrained_weights", plain / "checkpoint_final.pth")[0]


def test_training_from_a_plain_checkpoint_ends_with_its_validation(trained):
    assert (trained / "checkpoint_final.pth").exists()
    assert "foreground_mean" in json.loads((trained / "validation" / "summary.json").read_text())


def test_a_finished_training_continues(nnunet, trained):
    _, out = nnunet.train("2d", "nnUNetTrainerNeRDmTiny", "--c")
    assert "Validation complete" in out


@pytest.mark.parametrize("mirroring", [(), ("--disable_tta",)], ids=["mirrored", "plain"])
def test_prediction_builds_the_same_heads_from_the_plans(nnunet, trained, tmp_path, mirroring):
    assert nnunet.predict("2d", "nnUNetTrainerNeRDmTiny", tmp_path, *mirroring).shape == (24, 40, 40)


def test_volumes_with_deep_supervision_and_no_mirroring(nnunet, tmp_path):
    trainer = "nnUNetTrainerNeRDcTinyNoMirroring"
    folder, _ = nnunet.train("3d_fullres", trainer)
    assert (folder / "checkpoint_final.pth").exists()
    assert nnunet.predict("3d_fullres", trainer, tmp_path).shape == (24, 40, 40)


def test_our_own_names_are_found():
    code = (
        "from tests.torchvision_operators import declare_torchvision_operators as declare; declare(); "
        "from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find; print(find('{}'))"
    )
    for name in ("nnUNetTrainerNeRDm", "nnUNetTrainerNeRDcNoMirroring"):
        environment = {**os.environ, "nnUNet_extTrainer": str(trainers_folder())}
        done = subprocess.run(
            [sys.executable, "-c", code.format(name)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert f"nerd_trainers.{name}'" in done.stdout
