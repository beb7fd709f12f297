import csv
import io

from nerd_fast.segmentation.base.tables import Table

TABLE = Table("T", ("Model", "Dice ↑"), (("a|b", "1.0"), ("long name", "0.5")), ("A note.",))


def test_markdown_escapes_its_bars():
    assert (
        TABLE.to_markdown()
        == "**T**\n\n| Model | Dice ↑ |\n| --- | --- |\n| a\\|b | 1.0 |\n| long name | 0.5 |\n\nA note.\n"
    )


def test_csv_reads_back():
    assert list(csv.reader(io.StringIO(TABLE.to_csv()))) == [["Model", "Dice ↑"], ["a|b", "1.0"], ["long name", "0.5"]]


def test_text_is_aligned():
    assert TABLE.to_text().splitlines() == [
        "T",
        "",
        "Model      Dice ↑",
        "---------  ------",
        "a|b        1.0",
        "long name  0.5",
        "",
        "A note.",
    ]
