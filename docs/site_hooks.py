"""A hook of the site: pipes of code in tables, which are escaped for other readers of Markdown, as they are."""

import re

CODE = re.compile(r"`[^`]*`")


def on_page_markdown(markdown: str, **page: object) -> str:
    r"""Take the backslash from ``\|`` in the code of table rows: Python-Markdown would show it."""
    lines = markdown.split("\n")
    for i, line in enumerate(lines):
        if line.startswith("|"):
            lines[i] = CODE.sub(lambda code: code.group().replace(r"\|", "|"), line)
    return "\n".join(lines)
