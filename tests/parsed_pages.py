"""Pages of reports as a strict reader has them."""

from html.parser import HTMLParser

VOID = {"meta", "img", "wbr"}
ELEMENTS = VOID | set(
    "html head title style body main script h1 h2 p div span b ul li table thead tbody tr th td "
    "figure figcaption details summary pre mark small meter a".split()
)


class Parsed(HTMLParser):
    """A page as a strict reader has it: elements closed in order, texts, attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ELEMENTS, tag
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data
