"""A trace as a tree of text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from hopline.cli.otlp_receiver import ReceivedSpan
from hopline.request_id import REQUEST_ID


def lines_of(spans: Iterable[ReceivedSpan]) -> Iterator[str]:
    """Draw the spans of one trace.

    Args:
        spans: all of them; one whose parent is not among them is a root.

    Returns:
        One line for each span, children in the order in which they began under their parent.
    """
    ordered = sorted(spans, key=lambda span: span.start)
    known = {span.span_id for span in ordered}
    children: defaultdict[str, list[ReceivedSpan]] = defaultdict(list)
    for span in ordered:
        children[span.parent_id if span.parent_id in known else ""].append(span)
    yield from _below("", children, "")


def _below(parent: str, children: dict[str, list[ReceivedSpan]], indent: str) -> Iterator[str]:
    siblings = children.get(parent, [])
    for span in siblings:
        last = span is siblings[-1]
        yield f"{indent}{'└─' if last else '├─'} {_line(span)}"
        yield from _below(span.span_id, children, indent + ("   " if last else "│  "))


def _line(span: ReceivedSpan) -> str:
    attributes = span.attributes
    target = attributes.get("url.full") or attributes.get("url.path", "")
    outcomes = ("http.response.status_code", "error.type", "celery.state")
    outcome = next((attributes[name] for name in outcomes if attributes.get(name)), "")
    what = f"{span.service} {span.kind} {span.name} {target}".rstrip()
    request_id = attributes.get(REQUEST_ID, "")
    return f"{what}{f' → {outcome}' if outcome else ''}  {span.milliseconds:.1f} ms  id {request_id}"
