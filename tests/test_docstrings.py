"""What users call says what it takes and gives: `help(head.forward)` is no empty page."""

import inspect

import pytest

import nerd_fast
from nerd_fast.segmentation import TrainConfig
from nerd_fast.segmentation.data.report import Report
from nerd_fast.segmentation.runs.loading import RunData
from nerd_fast.surgery.normed import NormedConv2d

CLASSES = (nerd_fast.NeRDm, nerd_fast.NeRDc, nerd_fast.NeRDNorm, NormedConv2d, Report, RunData, TrainConfig)


def own_methods(cls):
    """{name: function} of the public methods and properties that our own classes define, inherited ones included."""
    members = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("nerd_fast"):
            members.update(vars(base))
    functions = {name: getattr(member, "fget", None) or inspect.unwrap(member) for name, member in members.items()}
    functions = {name: getattr(function, "__func__", function) for name, function in functions.items()}
    return {name: each for name, each in functions.items() if inspect.isfunction(each) and not name.startswith("_")}


@pytest.mark.parametrize("cls", CLASSES)
def test_every_public_method_has_a_docstring_and_annotations(cls):
    methods = own_methods(cls)
    assert methods
    assert [name for name, each in methods.items() if not each.__doc__] == []
    assert [name for name, each in methods.items() if "return" not in each.__annotations__] == []
