"""Texts beside their translations: two files, lines with tabs, translation memories."""

import bz2
import gzip
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import pytest

import tfhub_transfer as tt
from tfhub_transfer.data.reading import Asked, Table, has_no_header

PAIRS = [("Hello there.", "Hallo du."), ('She said "no.', 'Sie sagte "nein.'), ("ä\u2028b", "漢字")]
ASKED = {"text": "source", "label": "target"}


def write(path: Path, content: str | bytes, encoding: str = "utf-8") -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def both(folder: Path, first: str | bytes, second: str | bytes, ending: str = "") -> str:
    write(folder / f"train.en{ending}", first)
    write(folder / f"train.de{ending}", second)
    return str(folder / f"train.{{en,de}}{ending}")


def pairs_of(examples: tt.data.Examples) -> list[tuple[str, object]]:
    return list(zip(examples.texts[0], examples.labels))


def lines(place: int, end: str = "\n") -> str:
    return "".join(pair[place].replace("\u2028", " ") + end for pair in PAIRS)


WANTED = [(first.replace("\u2028", " "), second) for first, second in PAIRS]


# Two files ----------------------------------------------------------------------------------------


def packed(kind: str, text: str) -> tuple[str, bytes]:
    """The ending of a file's name, and its content, in odd forms."""
    content = text.encode()
    return {
        "plain": ("", content),
        "bom": ("", b"\xef\xbb\xbf" + content),
        "crlf": ("", content.replace(b"\n", b"\r\n")),
        "no last newline": ("", content.rstrip(b"\n")),
        "utf-16": ("", text.encode("utf-16")),
        "gz": (".gz", gzip.compress(content)),
        "bz2": (".bz2", bz2.compress(content)),
    }[kind]


KINDS = ("plain", "bom", "crlf", "no last newline", "utf-16", "gz", "bz2")


@pytest.mark.parametrize("kind", KINDS)
def test_lines_of_two_files_belong_together(kind: str, tmp_path: Path) -> None:
    ending, first = packed(kind, lines(0))
    read = tt.data.read(both(tmp_path, first, packed(kind, lines(1))[1], ending))
    assert pairs_of(read) == WANTED
    assert read.place(1) == f"{tmp_path}/train.{{en,de}}{ending}, line 2"
    assert f"lines belong to those of {tmp_path}/train.de{ending}" in read.notes


def test_two_files_may_have_unlike_forms_and_names(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", packed("utf-16", lines(0))[1])
    write(tmp_path / "b.gz", gzip.compress(lines(1, "\r\n").encode()))
    source = f"{{{tmp_path}/a.txt,{tmp_path}/b.gz}}"
    assert pairs_of(tt.data.read(source)) == WANTED
    # As a table they have whatever names are asked for, and may be read the other way round.
    table = Table(source, Asked("document", "summary"))
    assert table.columns == ["document", "summary"]
    assert pairs_of(tt.data.read(source, text="document", label="summary")) == WANTED
    turned = tt.data.read(f"{{{tmp_path}/b.gz,{tmp_path}/a.txt}}")
    assert pairs_of(turned) == [(second, first) for first, second in WANTED]
    # Some chunks at a time they are the same.
    chunks = list(tt.data.stream(source, chunk_rows=2))
    assert [pair for chunk in chunks for pair in pairs_of(chunk)] == WANTED


def test_an_encoding_goes_for_both_files(tmp_path: Path) -> None:
    source = both(tmp_path, "caf\xe9\n".encode("latin1"), "Stra\xdfe\n".encode("latin1"))
    with pytest.raises(tt.InputError, match=r"train\.en with byte 0xe9 at offset 3, in line 1"):
        tt.data.read(source)
    read = tt.data.read(tt.data.File(source, encoding="latin1"))
    assert pairs_of(read) == [("café", "Straße")]


def test_a_file_that_is_called_so_is_that_file(tmp_path: Path) -> None:
    path = write(tmp_path / "train.{en,de}.csv", "text,label\na,b\n")
    assert pairs_of(tt.data.read(path)) == [("a", "b")]


@pytest.mark.parametrize(
    ("first", "second", "match"),
    [
        (
            "a\nb\nc\n",
            "A\nB\n",
            r"as many lines each.*train\.en with 3 lines and .*train\.de with 2$",
        ),
        ("a\n" * 1200, "A\n" * 1199 + "B", None),
        ("a\n\n", "A\n", r"blank ones at an end.*with 2 lines and .*with 1$"),
        ("a\n", "", r"the file is empty.*train\.de"),
        ("a\n", b"\xff\xff\n", r"isn't UTF-8.*train\.de with byte 0xff"),
    ],
)
def test_unlike_numbers_of_lines_are_refused(
    first: str, second: str, match: str | None, tmp_path: Path
) -> None:
    source = both(tmp_path, first, second)
    if match is None:
        assert len(tt.data.read(source)) == 1200
        return
    with pytest.raises(tt.InputError, match=match):
        tt.data.read(source)


def test_files_that_are_not_there_or_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(tt.InputError, match=r"no such file.*none\.en"):
        tt.data.read(str(tmp_path / "none.{en,de}"))
    write(tmp_path / "a", "a\n")
    with pytest.raises(tt.InputError, match=r"must be in two files.*a twice"):
        tt.data.read(f"{{{tmp_path}/a,{tmp_path}/a}}")


def test_pairs_of_which_a_side_is_blank_are_left_out_and_told(tmp_path: Path) -> None:
    source = both(tmp_path, "a\n\nc\n \ne\n", "A\nB\n\t\n\nE\n")
    read = tt.data.read(source)
    assert pairs_of(read) == [("a", "A"), ("e", "E")]
    assert [read.place(row)[-6:] for row in range(2)] == ["line 1", "line 5"]
    assert "of the pairs a side is blank: 3 of 5 are left out, the first in 2" in read.notes
    # Once, however often it was read.
    table = Table(source, Asked(**ASKED))
    assert [list(table), list(table)][1][-1][0] == 5
    assert sum("blank" in note for note in table.notes) == 1
    # Who only asks gets an answer to each.
    assert len(list(Table(source, Asked("source", labels=False)))) == 5


# Lines with tabs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["pairs.tsv", "pairs.txt", "pairs.en-de"])
def test_lines_with_tabs_need_no_header(kind: str, name: str, tmp_path: Path) -> None:
    text = "".join(f"{first}\t{second}\n" for first, second in WANTED)
    ending, content = packed(kind, text)
    path = write(tmp_path / f"{name}{ending}", content)
    read = tt.data.read(path, **ASKED)
    assert pairs_of(read) == WANTED
    assert "the file has no header: fields are source, target" in read.notes


@pytest.mark.parametrize(("text", "label"), [("source", "target"), ("turns", "answer")])
def test_who_asks_gives_the_texts_of_lines_without_header(
    text: str, label: str, tmp_path: Path
) -> None:
    asked = Asked(text, label, labels=False)
    lines = "".join(f"{first}\t{second}\n" for first, second in WANTED)
    for name in ("ask.txt", "ask.tsv"):
        rows = list(Table(write(tmp_path / name, lines), asked))
        assert [row[text] for _, row in rows] == [first for first, _ in WANTED]
    # Who asks may have a table of other columns, or texts in which a tab stands.
    for other in ("text\tkind\nA film\tgood\n", "Go on.\tPlease.\nYes.\n"):
        assert not has_no_header(write(tmp_path / "other.txt", other), asked)


def test_what_follows_two_texts_is_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "deu.tsv", 'Go.\tGeh.\tCC "BY\n\nHi.\tHallo.\t#2\n')
    read = tt.data.read(path, **ASKED)
    assert pairs_of(read) == [("Go.", "Geh."), ("Hi.", "Hallo.")]
    assert read.columns["field 3"] == ['CC "BY', "#2"]
    assert read.place(1).endswith("line 3")
    for text, label in (("document", "summary"), ("turns", "answer")):
        assert pairs_of(tt.data.read(path, text=text, label=label)) == pairs_of(read)


def test_tables_with_a_header_are_read_as_ever(tmp_path: Path) -> None:
    path = write(tmp_path / "pairs.tsv", 'id\tTarget\tsource\n1\tb\t"a ""x"""\n')
    with pytest.raises(tt.InputError, match="did you mean 'Target'"):
        tt.data.read(path, **ASKED)
    assert pairs_of(tt.data.read(path, text="source", label="Target")) == [('a "x"', "b")]
    # Without the names of tasks' columns the first line is a header.
    bare = write(tmp_path / "bare.tsv", "Go.\tGeh.\nRun.\tLauf.\n")
    with pytest.raises(tt.InputError, match="no column 'text'"):
        tt.data.read(bare)
    comma = write(tmp_path / "pairs.csv", 'source,target\n"a, b",c\n')
    assert pairs_of(tt.data.read(comma)) == [("a, b", "c")]


def test_a_header_with_other_names_is_no_pair(tmp_path: Path) -> None:
    path = write(tmp_path / "pairs.tsv", "en\tde\nHello there\tHallo du\n")
    with pytest.raises(tt.InputError, match=r"`--text en --label de`.*Received: .* with en, de"):
        tt.data.read(path, **ASKED)
    assert pairs_of(tt.data.read(path, text="en", label="de")) == [("Hello there", "Hallo du")]
    # Where all are single words the first one is like the others.
    words = write(tmp_path / "words.tsv", "cat\tKatze\ndog\tHund\n")
    assert len(tt.data.read(words, **ASKED)) == 2


def test_a_line_with_other_fields_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "pairs.tsv", "a b\tc d\ne\n")
    with pytest.raises(tt.InputError, match=r"line 2: expected 2 texts.*Received: 1"):
        tt.data.read(path, **ASKED)


def test_a_source_is_a_text_only_beside_a_target() -> None:
    rows = [{"review": "fine", "source": "web", "label": "good"}]
    with pytest.raises(tt.InputError, match="no column 'text'"):
        tt.data.read(rows)
    assert pairs_of(tt.data.read([{"source": "a", "target": "b"}])) == [("a", "b")]
    turns = tt.data.read([{"turns": ["Hello!", "Yes?"], "answer": "Bye"}])
    assert turns.labels == ["Bye"] and turns.texts[0][0].split("\u2028") == ["Hello!", "Yes?"]


# Translation memories -----------------------------------------------------------------------------

HEAD = '<?xml version="1.0" encoding="{}"?>\n<!DOCTYPE tmx SYSTEM "tmx14.dtd">\n'


def tmx(*units: str, language: str = "en", encoding: str = "UTF-8") -> str:
    body = "\n".join(f"<tu>{unit}</tu>" for unit in units)
    return (
        f'{HEAD.format(encoding)}<tmx version="1.4"><header srclang="{language}"/>'
        f"<body>{body}</body></tmx>"
    )


def said(language: str, text: str) -> str:
    return f'<tuv xml:lang="{language}"><prop type="x">no</prop><seg>{text}</seg></tuv>'


def unit(first: str, second: str) -> str:
    return said("de", escape(second)) + said("en", escape(first))


@pytest.mark.parametrize("kind", ["plain", "bom", "crlf", "utf-16", "gz"])
def test_a_translation_memory_has_what_xml_says(kind: str, tmp_path: Path) -> None:
    text = tmx(*(unit(*pair) for pair in [*WANTED, ("a <b> & c", "x")]))
    text = text.replace("UTF-8", "UTF-16") if kind == "utf-16" else text
    ending, content = packed(kind, text)
    path = write(tmp_path / f"memory.tmx{ending}", content)
    read = tt.data.read(path)
    tree = ElementTree.fromstring(tmx(*(unit(*pair) for pair in [*WANTED, ("a <b> & c", "x")])))
    by_hand = [[seg.text for seg in each.iter("seg")][::-1] for each in tree.iter("tu")]
    assert [list(pair) for pair in pairs_of(read)] == by_hand
    assert "source is en, target is de; the file has de, en" in read.notes
    turned = tt.data.read(path, text="de", label="en")
    assert pairs_of(turned) == [(second, first) for first, second in pairs_of(read)]


def test_tags_in_a_segment_are_no_text(tmp_path: Path) -> None:
    inside = (
        '\n Ein <bpt i="1">&lt;b <sub>unten</sub>&gt;</bpt>fettes<ept i="1">&lt;/b&gt;</ept> '
        "<hi>Wort</hi><ph>{0}</ph><it pos='begin'>x</it>!\n"
    )
    path = write(tmp_path / "m.tmx", tmx(said("de", inside) + said("en", "A bold word!")))
    assert tt.data.read(path).labels == ["Ein fettes Wort!"]


def test_languages_are_columns(tmp_path: Path) -> None:
    units = [
        said("EN-us", "one") + said("de", "eins") + '<tuv lang="fr"><seg>un</seg></tuv>',
        said("en-US", "two") + said("de", "zwei") + said("DE", "zwo"),
        said("en-US", "alone"),
        said("en-US", "three") + said("fr", "trois"),
    ]
    path = write(tmp_path / "m.tmx", tmx(*units, language="*all*"))
    read = tt.data.read(path)
    assert pairs_of(read) == [("one", "eins"), ("two", "zwei")]
    assert "1 units have a language twice, and its first text counts" in read.notes
    assert "of the pairs a side is blank: 2 of 4 are left out, the first in 3" in read.notes
    french = tt.data.read(path, text="fr", label="EN-US")
    assert pairs_of(french) == [("un", "one"), ("trois", "three")]
    with pytest.raises(tt.InputError, match="no column 'es'.*'EN-us', 'de', 'fr'"):
        tt.data.read(path, text="es", label="de")


BOMB = '<!DOCTYPE tmx [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><tmx><body/></tmx>'
OTHERS = '<!DOCTYPE tmx [<!ENTITY a SYSTEM "file:///etc/passwd">]><tmx><body>&a;</body></tmx>'
PARAMETER = '<!DOCTYPE tmx [<!ENTITY % a SYSTEM "file:///etc/passwd"> %a;]><tmx/>'


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (BOMB, r"entities of its own.*\(a\)"),
        (OTHERS, r"entities of its own.*\(a\)"),
        (PARAMETER, r"entities of its own.*\(a\)"),
        (tmx(unit("a", "b")).replace(">a<", ">a&nbsp;<"), r"entities of its own.*\(nbsp\)"),
        (tmx(unit("a", "b"))[:-20], r"no XML that can be read.*\(.*line 3"),
        ("no XML", "no XML that can be read.*line 1"),
        ("<xliff/>", r"outermost element must be `tmx`.*\(xliff\)"),
        ("<tmx>" + "<a>" * 1000, "more than 100 deep"),
        (tmx(said("en", "a")), "two languages.*with en$"),
        (tmx("<note>a</note>"), "two languages.*with none$"),
        (tmx("<tuv><seg>a</seg></tuv>"), r"unit 1 has a text without language.*\(a\)"),
    ],
)
def test_what_is_no_safe_translation_memory_is_refused(
    text: str, match: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "m.tmx", text)
    with pytest.raises(tt.InputError, match=match) as caught:
        tt.data.read(path)
    assert "Received: " in str(caught.value) and "\n" not in str(caught.value)


def test_a_translation_memory_of_another_encoding(tmp_path: Path) -> None:
    text = tmx(unit("caf\xe9", "Stra\xdfe"), encoding="ISO-8859-1")
    path = write(tmp_path / "m.tmx", text, "latin1")
    assert pairs_of(tt.data.read(path)) == [("café", "Straße")]
    # One that lies about it is helped by saying so.
    wrong = write(tmp_path / "w.tmx", text.replace("ISO-8859-1", "UTF-8"), "latin1")
    with pytest.raises(tt.InputError, match="no XML that can be read"):
        tt.data.read(wrong)
    assert pairs_of(tt.data.read(tt.data.File(wrong, encoding="latin1"))) == [("café", "Straße")]
