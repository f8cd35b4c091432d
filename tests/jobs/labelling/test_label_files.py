"""The file of labels, and files of annotation tools to and fro."""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

import tfhub_transfer as tt
from tfhub_transfer.jobs.labelling import exchange
from tfhub_transfer.jobs.labelling.exchange import Asked
from tfhub_transfer.jobs.labelling.label_files import Kept, Labelled, Skipped
from tfhub_transfer.tasks import Classification, MultiLabel

# With what files stumble over: quotes, line breaks of all kinds, separators, bidirectional marks.
ODD = 'a "good", film\nand\u2028more\x85\t\u202e; \x1d'
ROWS = [Labelled(ODD, "b", "typical"), Labelled("NA", "NA", "random"), Labelled("3", "1", "given")]
SETS = [Labelled(ODD, ("a", "b"), "typical"), Labelled("none", (), "margin")]
PAIRS = [Labelled((ODD, "b"), "b", "typical"), Labelled(("b", ODD), "NA", "random")]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
@pytest.mark.parametrize("rows", [ROWS, SETS, PAIRS])
def test_labels_come_back_as_they_were(rows: list[Labelled], suffix: str, tmp_path: Path) -> None:
    path, several, pair = tmp_path / f"out.{suffix}", rows is SETS, rows is PAIRS
    kept = Kept(path, several, pair=pair)
    assert not path.exists() and kept.rows == []
    for row in rows:
        kept.add([row])
    again = Kept(path, several, pair=pair)
    odd = f" {ODD.upper()}"
    assert again.rows == rows and again.of((odd, "B") if pair else odd) == rows[0]
    assert again.take_back() == rows[-1] and Kept(path, several, pair=pair).rows == rows[:-1]
    assert again.of(rows[-1].text) is None
    # What `train` reads of it.
    again.add(rows[-1:])
    blank: Any = "or blank" if several else True
    read = tt.data.read(str(path), require_label=blank)
    task = MultiLabel() if several else Classification(["b", "NA", "1"])
    own = [row.label if isinstance(row.label, str) else [*row.label] for row in rows]
    assert list(map(list if several else str, task.read_labels(read.labels))) == own
    if suffix != "tsv":
        firsts = [row.text[0] if pair else row.text for row in rows]
        assert read.texts[0] == [str(text).replace("\u2028", " ") for text in firsts]
        assert read.is_pair == pair


@pytest.mark.parametrize(
    "content",
    [
        "text,label\na,b\n",
        "text,label,reason,more\na,b,c,d\n",
        "text,label,reason\na,b\n",
        "text,label,reason\na,b,c,d\n",
        "a line\n",
        b"\xff\xfe",
    ],
)
def test_files_of_others_are_never_touched(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = path.read_bytes()
    with pytest.raises(tt.InputError, match="no file of `label`.*Received: "):
        Kept(path, False)
    assert path.read_bytes() == before


def test_what_changed_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    kept = Kept(path, False)
    kept.add(ROWS[:1])
    Kept(path, False).add(ROWS[1:2])
    with pytest.raises(tt.InputError, match="changed by somebody else"):
        kept.add(ROWS[2:])
    assert Kept(path, False).rows == ROWS[:2]


def test_an_output_of_another_task_or_name_is_refused(tmp_path: Path) -> None:
    for several, rows, wanted in ((False, SETS, "one class"), (True, ROWS, "a list of classes")):
        path = tmp_path / f"{several}.csv"
        Kept(path, not several).add(rows)
        with pytest.raises(tt.InputError, match=f"expected {wanted} for each.*row 1"):
            Kept(path, several)
    with pytest.raises(tt.InputError, match="must end in .csv, .tsv, .jsonl"):
        Kept(tmp_path / "out.parquet", False)
    with pytest.raises(tt.InputError, match="apart from what is read"):
        Kept(path, False, [path])
    os.link(path, tmp_path / "linked.csv")
    with pytest.raises(tt.InputError, match="apart from what is read"):
        Kept(path, False, [tmp_path / "linked.csv"])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (",a,given", "row without a text; fill it in.*row 2"),
        ("rain,,given", "row without a label.*row 2"),
        ("A  film,b,given", "one text with two labels.*row 2: 'b', and above 'a'"),
        (f"rain,{'b' * 2000},given", "out.csv, row 2: the name of a class"),
    ],
)
def test_rows_spoilt_by_hand_are_named(row: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text(f"text,label,reason\na film,a,random\n{row}\n")
    with pytest.raises(tt.InputError, match=message):
        Kept(path, False)


def test_rows_that_a_spreadsheet_leaves_are_no_labels(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("text,label,reason\na film,a,random\n,,\nA FILM,a,given\n")
    assert Kept(path, False).rows == [Labelled("a film", "a", "random")]


def test_a_class_may_be_called_as_a_list(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "out.csv", False)
    kept.add([Labelled("rain", "[1]", "given")])
    assert Kept(kept.path, False).rows == kept.rows


@pytest.mark.parametrize("line", ["5", '{"text": 5}', '{"text": null}'])
def test_skipped_texts_are_texts(line: str, tmp_path: Path) -> None:
    (tmp_path / "out.skipped.jsonl").write_text(line + "\n")
    with pytest.raises(tt.InputError, match="another file has that name"):
        Skipped(tmp_path / "out.csv")


def test_what_is_skipped_is_kept_beside(tmp_path: Path) -> None:
    skipped = Skipped(tmp_path / "out.csv")
    skipped.add(ODD)
    skipped.add("b")
    assert Skipped(tmp_path / "out.csv").texts == [ODD, "b"]
    skipped.take_back()
    skipped.take_back()
    assert not skipped.path.exists()
    skipped.path.write_text("mine\n")
    with pytest.raises(tt.InputError, match="another file has that name"):
        Skipped(tmp_path / "out.csv")


def test_what_is_skipped_of_pairs_has_both_texts(tmp_path: Path) -> None:
    skipped = Skipped(tmp_path / "out.csv", pair=True)
    skipped.add((ODD, "b"))
    assert Skipped(tmp_path / "out.csv", pair=True).texts == [(ODD, "b")]
    with pytest.raises(tt.InputError, match="another file has that name"):
        Skipped(tmp_path / "out.csv")


@pytest.mark.parametrize("pair", [False, True])
def test_an_output_of_pairs_is_none_of_texts(pair: bool, tmp_path: Path) -> None:
    Kept(tmp_path / "out.csv", False, pair=pair).add((PAIRS if pair else ROWS)[:1])
    names = "text, label, reason" if pair else "text_a, text_b, label, reason"
    with pytest.raises(tt.InputError, match=f"no file of `label`, with the columns {names}; "):
        Kept(tmp_path / "out.csv", False, pair=not pair)
    (tmp_path / "half.csv").write_text("text_a,text_b,label,reason\na,,x,given\n")
    with pytest.raises(tt.InputError, match="a row without a text"):
        Kept(tmp_path / "half.csv", False, pair=True)


# Annotation tools -----------------------------------------------------------------------------

ASKED = [Asked(ODD, "margin", "b", 0.7), Asked("rain", "random")]


def answered(path: Path, content: str, task: Any = None, **named: Any) -> exchange.Answers:
    path.write_text(content, encoding="utf-8")
    classes = named.pop("classes", None)
    columns = exchange.AnswerColumns(**named)
    return exchange.read(tt.data.File(str(path)), task or Classification(), columns, classes)


def test_a_table_is_filled_in(tmp_path: Path) -> None:
    made = exchange.as_csv(ASKED, False)
    rows = list(csv.DictReader(io.StringIO(made, newline="")))
    told = ("b", "0.7", "margin")
    assert [tuple(row.values()) for row in rows] == [
        (ODD, "", *told),
        ("rain", "", "", "", "random"),
    ]
    rows[1]["label"] = "wet"
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    found = answered(tmp_path / "back.csv", file.getvalue())
    assert found == exchange.Answers([Labelled("rain", "wet", "random")], 1)


def studio(row: dict[str, Any], *choices: str, **more: Any) -> dict[str, Any]:
    """A task of Label Studio as its export has it, with one annotation."""
    value = {"from_name": "label", "type": "choices", "value": {"choices": list(choices)}}
    annotation = {"was_cancelled": False, "result": [value], **more}
    return {**row, "id": 1, "annotations": [annotation]}


def test_label_studio_and_back(tmp_path: Path) -> None:
    tasks = json.loads(exchange.as_label_studio(ASKED, False))
    [prediction] = tasks[0]["predictions"]
    assert tasks[0]["data"] == {"text": ODD, "reason": "margin"} and prediction["score"] == 0.7
    [result] = prediction["result"]
    assert (result["from_name"], result["to_name"], result["type"]) == ("label", "text", "choices")
    assert result["value"] == {"choices": ["b"]} and "predictions" not in tasks[1]
    back = [studio(tasks[0], "a"), {**tasks[1], "id": 2, "annotations": []}]
    found = answered(tmp_path / "back.json", json.dumps(back))
    assert found == exchange.Answers([Labelled(ODD, "a", "margin")], 1)
    # One that was cancelled is none.
    back[0] = studio(tasks[0], "a", was_cancelled=True)
    assert answered(tmp_path / "none.json", json.dumps([*back, studio(tasks[1], "c")])).blank == 2
    several = [studio(tasks[0], "b", "a"), studio(tasks[1], "c")]
    found = answered(tmp_path / "sets.json", json.dumps(several), MultiLabel())
    assert [row.label for row in found.rows] == [("a", "b"), ("c",)]
    config = exchange.label_studio_config(["a", 'b"<'], several=True)
    assert 'choice="multiple"' in config and "&lt;" in config


def test_annotators_of_label_studio_who_disagree_are_told(tmp_path: Path) -> None:
    rows = [studio({"data": {"text": text}}, "a") for text in ("rain", "sun")]
    rows[0]["annotations"] += studio({}, "b")["annotations"]
    rows[1]["annotations"] += studio({}, "a")["annotations"]
    found = answered(tmp_path / "two.json", json.dumps(rows))
    assert [row.label for row in found.rows] == ["a", "a"]
    assert found.notes == ["of 1 text annotators say different things; the first one's word holds"]
    rows[0]["annotations"][1]["was_cancelled"] = True
    assert not answered(tmp_path / "one.json", json.dumps(rows)).notes


def test_label_studio_in_short(tmp_path: Path) -> None:
    told = {"annotator": 1, "annotation_id": 2, "lead_time": 3.0}
    rows = [{"text": ODD, "reason": "random", "label": "a", **told}]
    found = answered(tmp_path / "min.json", json.dumps(rows))
    assert found.rows == [Labelled(ODD, "a", "random")]
    rows[0]["label"] = {"choices": ["b", "a"]}
    found = answered(tmp_path / "sets.json", json.dumps(rows), MultiLabel())
    assert found.rows == [Labelled(ODD, ("a", "b"), "random")]


def test_doccano_and_back(tmp_path: Path) -> None:
    lines = list(map(json.loads, exchange.as_doccano(ASKED, False).split("\n")[:-1]))
    assert [(row["text"], row["label"]) for row in lines] == [(ODD, ["b"]), ("rain", [])]
    lines[0]["label"] = ["a"]
    content = "".join(json.dumps({"id": n, **row}) + "\n" for n, row in enumerate(lines))
    found = answered(tmp_path / "back.jsonl", content)
    assert found == exchange.Answers([Labelled(ODD, "a", "margin")], 1)
    found = answered(tmp_path / "sets.jsonl", content.replace('["a"]', '["b", "a"]'), MultiLabel())
    assert [row.label for row in found.rows] == [("a", "b")]


def test_tables_of_ones_own(tmp_path: Path) -> None:
    table = "review,topic\na film,x\nA  FILM,x\nrain,\n"
    found = answered(tmp_path / "own.csv", table, text="review", label="topic")
    assert found == exchange.Answers([Labelled("a film", "x", "given")], 1)
    sets = "text,label\na,x|y\nb,y\n"
    found = answered(tmp_path / "sets.csv", sets, MultiLabel())
    assert [row.label for row in found.rows] == [("x", "y"), ("y",)]


ASKED_PAIRS = [Asked((ODD, "b"), "margin", "x", 0.7), Asked(("rain", "sun"), "random")]


@pytest.mark.parametrize("form", exchange.FORMATS)
def test_pairs_go_to_each_tool_and_back(form: str, tmp_path: Path) -> None:
    suffix, write = exchange.FORMATS[form]
    made = write(ASKED_PAIRS, False)
    if form == "csv":
        assert made.startswith("text_a,text_b,label,predicted,score,reason\n")
        made = made.replace("rain,sun,", "rain,sun,y").replace(",b,,x,", ",b,x,x,")
    elif form == "doccano":
        rows = [json.loads(line) for line in made.split("\n")[:-1]]
        # It shows one text.
        assert rows[0]["text"] == f"{ODD}\n\nb" and rows[0]["label"] == ["x"]
        rows[1]["label"] = ["y"]
        made = "".join(json.dumps(row) + "\n" for row in rows)
    else:
        tasks = json.loads(made)
        assert tasks[0]["predictions"][0]["result"][0]["to_name"] == "text_a"
        config = exchange.label_studio_config(["x", "y"], several=False, pair=True)
        assert '<Text name="text_b" value="$text_b"/>' in config and 'toName="text_a"' in config
        made = json.dumps([studio(tasks[0], "x"), studio(tasks[1], "y")])
    found = answered(tmp_path / f"back{suffix}", made, pair=True)
    assert found.rows == [
        Labelled((ODD, "b"), "x", "margin"),
        Labelled(("rain", "sun"), "y", "random"),
    ]


def test_pairs_of_label_studio_are_read_by_anybody(tmp_path: Path) -> None:
    task = {"data": {"text_a": "rain", "text_b": "sun", "reason": "random"}}
    short = {"annotator": 1, "annotation_id": 2, "lead_time": 3.0, **task["data"], "label": "x"}
    for name, rows in (("long", [studio(task, "x")]), ("short", [short])):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(rows))
        read = tt.data.read(str(path))
        assert read.texts == (["rain"], ["sun"]) and read.labels == ["x"]


def test_pairs_of_ones_own_are_named_or_the_usual(tmp_path: Path) -> None:
    named = {"text": "premise", "text_pair": "hypothesis", "pair": True}
    found = answered(tmp_path / "own.csv", "premise,hypothesis,label\na,b,x\nA,B,x\n", **named)
    assert found.rows == [Labelled(("a", "b"), "x", "given")]
    assert answered(tmp_path / "usual.csv", "text_a,text_b,label\na,b,x\n", **named) == found
    with pytest.raises(tt.InputError, match="no column 'text_b'"):
        answered(tmp_path / "single.csv", "text_a,label\na,x\n", pair=True)
    with pytest.raises(tt.InputError, match="line 2: a label without a text"):
        answered(tmp_path / "half.csv", "text_a,text_b,label\na,,x\n", pair=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,labelled\na,x\n", "no column of labels.*`--label`.*with text, labelled"),
        ("review,label\na,x\n", "no column 'text'"),
        ("text,label\na,x\nA,y\n", "line 3: the same text has another label above, 'x'"),
        ("text,label\n,x\n", "line 2: a label without a text"),
        ("text,label\na,z\n", "line 2: expected one of x, y.*Received: 'z'"),
    ],
)
def test_answers_that_are_refused(content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(tt.InputError, match=message):
        answered(tmp_path / "back.csv", content, Classification(["x", "y"]), classes=["x", "y"])


def test_a_label_that_is_missing_names_the_option_that_label_has(tmp_path: Path) -> None:
    content = "text,label\na,x\nb,NA\n"
    with pytest.raises(tt.InputError, match="line 3: a label is missing.*among given `--labels`"):
        answered(tmp_path / "back.csv", content)
    found = answered(tmp_path / "back.csv", content, Classification(["x", "NA"]))
    assert [row.label for row in found.rows] == ["x", "NA"]


def test_a_batch_is_named_by_what_it_was_chosen_by() -> None:
    assert exchange.beside(Path("a/out.csv"), 20, "label-studio") == Path("a/out.after-20.json")
