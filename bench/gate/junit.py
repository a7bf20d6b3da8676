"""Verdicts as JUnit XML, which CI systems show as tests."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    from bench.gate.verdict import Verdict

# Characters that XML 1.0 cannot hold even when escaped; names and reasons may contain anything.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(text: str) -> str:
    """Text without the characters that XML cannot hold."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def junit(verdicts: Sequence[Verdict], strict: bool = False) -> str:
    """A JUnit document: failed gates are failures; what could not be evaluated is an error; undecided is skipped.

    With `strict` an undecided verdict is a failure too.
    """
    tags = {"failed": "failure", "missing": "error", "not_comparable": "error"}
    tags["undecided"] = "failure" if strict else "skipped"
    suite = ElementTree.Element("testsuite", name="bench check", tests=str(len(verdicts)))
    for count, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(count, str(sum(tags.get(verdict.status) == tag for verdict in verdicts)))
    for verdict in verdicts:
        name = clean(verdict.name)
        group = clean(f"{verdict.suite}.{verdict.who}" if verdict.suite else verdict.who)
        case = ElementTree.SubElement(suite, "testcase", classname=group, name=name, time="0")
        if verdict.status in tags:
            problem = ElementTree.SubElement(case, tags[verdict.status], message=clean(verdict.message))
            if problem.tag != "skipped":
                problem.set("type", verdict.status)
        else:
            ElementTree.SubElement(case, "system-out").text = clean(verdict.message)
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"
