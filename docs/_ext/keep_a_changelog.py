"""A parser for ``include`` that reads CHANGELOG.md: as much Markdown as *Keep a Changelog* needs.

markdown-it-py finds the structure; each of its nodes becomes the one of docutils that means the same. The parser
refuses Markdown that it has no node for, so that nothing of the changelog gets lost on the page.
"""

from __future__ import annotations

from collections.abc import Iterator

from docutils import nodes, parsers
from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

SPANS = {
    "em": nodes.emphasis,
    "strong": nodes.strong,
    "bullet_list": nodes.bullet_list,
    "ordered_list": nodes.enumerated_list,
    "list_item": nodes.list_item,
    "paragraph": nodes.paragraph,
}
"""What has a node of its own and holds others, by the name that markdown-it gives it."""


class Parser(parsers.Parser):
    """Turns a changelog into sections, one for each heading."""

    supported = ("keep_a_changelog",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        """Add the nodes of ``inputstring`` to ``document``."""
        self.setup_parse(inputstring, document)
        sections: list[nodes.Element] = [document]
        for node in SyntaxTreeNode(MarkdownIt("commonmark").parse(inputstring)).children:
            if node.type == "heading":
                del sections[int(node.tag.removeprefix("h")) :]
                section = nodes.section()
                title = nodes.title("", "", *_children(node))
                section += title
                section["names"].append(nodes.fully_normalize_name(title.astext()))
                sections[-1] += section
                document.note_implicit_target(section, section)
                sections.append(section)
            else:
                sections[-1] += list(_converted(node))
        self.finish_parse()


def _children(node: SyntaxTreeNode) -> Iterator[nodes.Node]:
    for child in node.children:
        yield from _converted(child)


def _converted(node: SyntaxTreeNode) -> Iterator[nodes.Node]:
    if node.type == "inline":
        yield from _children(node)
    elif node.type in ("text", "softbreak"):
        yield nodes.Text(node.content or "\n")
    elif node.type == "code_inline":
        yield nodes.literal(node.content, node.content)
    elif node.type == "link":
        yield nodes.reference("", "", *_children(node), refuri=str(node.attrs["href"]))
    elif node.type in SPANS:
        element = SPANS[node.type]()
        element += list(_children(node))
        yield element
    else:
        raise ValueError(f"CHANGELOG.md has {node.type}, which docs/_ext/keep_a_changelog.py does not know")
