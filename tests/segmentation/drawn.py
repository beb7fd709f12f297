"""Figures as the code under test drew them."""


def saved_figures(monkeypatch, module):
    """A list that fills with every figure that `module` saves; the files are written all the same."""
    saved, save = [], module.save
    monkeypatch.setattr(module, "save", lambda figure, *rest: saved.append(figure) or save(figure, *rest))
    return saved
