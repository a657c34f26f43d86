"""A hook of mkdocs: the tutorials can be had as notebooks, with a cell for every block that the tests run.

`extra.notebooks` of mkdocs.yml names the pages. Python becomes a cell of Python, commands one of `%%bash`, and a block
with a title a file of that name; what else stands on the page stays text.
"""

import base64
import re
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.structure.files import File
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

FENCE = re.compile(r"^```(?P<kind>python|console)(?: title=\"(?P<file>[\w.-]+)\")?\n(?P<block>.*?)^```\n", re.M | re.S)
PICTURE = re.compile(r"!\[(?P<name>[^\]]*)\]\((?P<file>[^)\s]+\.svg)\)")
ELSEWHERE = re.compile(r"(?<!!)\[(?P<text>[^\[\]]*)\]\((?!https?:)[^)]*\)")
"""A link to another page, which a notebook does not have beside it."""


def on_files(files: Any, config: Any) -> Any:
    """Add the notebooks to the files of the site."""
    for name in config["extra"]["notebooks"]:
        page = files.get_file_from_path(name)
        made = nbformat.writes(notebook(page.content_string, Path(page.abs_src_path).parent))
        files.append(File.generated(config, str(Path(name).with_suffix(".ipynb")), content=made + "\n"))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Say under the title of a tutorial that it can be had as a notebook."""
    name = page.file.src_uri
    if name not in config["extra"]["notebooks"]:
        return markdown
    title, _, rest = markdown.partition("\n")
    return f"{title}\n\n[As a notebook]({Path(name).with_suffix('.ipynb').name})\n{rest}"


def notebook(page: str, folder: Path) -> nbformat.NotebookNode:
    """A page as a notebook.

    Args:
        page: Its Markdown.
        folder: Where its pictures are found, which go into the notebook.
    """
    cells, end = [], 0
    for fence in FENCE.finditer(page):
        cells += [*_text(page[end : fence.start()], folder), new_code_cell(_code(fence))]
        end = fence.end()
    cells += _text(page[end:], folder)
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"  # that of nbformat is random
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel})


def _code(fence: re.Match[str]) -> str:
    block = fence["block"].rstrip("\n")
    if fence["kind"] == "console":
        return "%%bash\n" + re.sub(r"^\$ ", "", block, flags=re.M)
    return f"%%writefile {fence['file']}\n{block}" if fence["file"] else block


def _text(markdown: str, folder: Path) -> list[nbformat.NotebookNode]:
    def embedded(picture: re.Match[str]) -> str:
        coded = base64.b64encode((folder / picture["file"]).read_bytes()).decode()
        return f"![{picture['name']}](data:image/svg+xml;base64,{coded})"

    text = re.sub(r"^<!-- .* -->\n", "", markdown, flags=re.M)
    text = PICTURE.sub(embedded, ELSEWHERE.sub(r"\g<text>", text)).strip()
    return [new_markdown_cell(text)] if text else []
