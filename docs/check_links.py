"""Links within the built pages: every file, and every place on a page, that one leads to is there.

    python docs/check_links.py docs/_build/html

Ends with 1 and a list where one is not. Links to other sites are those of ``make linkcheck``.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """Links, addresses of pictures and styles, and names of places of one page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.places = set(), {"", "top"}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.links |= {found[name] for name in ("href", "src") if found.get(name)}
        self.places |= {found[name] for name in ("id", "name") if found.get(name)}


def broken_links(folder):
    """Pages with the links that lead nowhere, and the number of links that were followed."""
    folder = Path(folder).resolve()
    pages = {path: Page(path) for path in folder.rglob("*.html") if "_static" not in path.parts}
    if not pages:
        raise SystemExit(f"{folder} has no pages: build them first")
    broken, followed = [], 0
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            followed += 1
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            there = target.is_relative_to(folder) and target.exists()
            if not there or (target in pages and unquote(parts.fragment) not in pages[target].places):
                broken.append(f"{path.relative_to(folder)}: {link}")
    return sorted(broken), followed


if __name__ == "__main__":
    found, number = broken_links(sys.argv[1])
    print("\n".join([*found, f"{number} links within the pages, {len(found)} of them broken"]))
    sys.exit(bool(found))
