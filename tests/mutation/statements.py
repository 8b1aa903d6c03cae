"""Mutants of SQL: a condition, an assignment, a lock or an order less in one of the named queries."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from itertools import islice
from typing import Any, TypeAlias

import sqlglot
from sqlglot import exp

Change: TypeAlias = tuple[str, Callable[[], Any]]

DROPPED = (exp.Where, exp.Lock, exp.Ordered, exp.Limit, exp.OnConflict)

TURNED: dict[type[exp.Expr], type[exp.Expr]] = {exp.LT: exp.GT, exp.GT: exp.LT, exp.LTE: exp.LT, exp.GTE: exp.GT}


@dataclass(frozen=True)
class Mutant:
    """One query of a file of queries, with one thing changed. ``name`` says which and what."""

    file: str
    query: str
    change: str
    sql: str

    @property
    def name(self) -> str:
        """What a list of accepted survivors calls it."""
        return f"{self.file}.{self.query}: {self.change}"

    @property
    def reached(self) -> str:
        """The query, as those who run it are listed by."""
        return f"{self.file}.{self.query}"

    def text(self) -> str:
        """Return the whole file with this query in it."""
        return re.sub(
            rf"(?ms)^(-- name: {self.query}[^\w\n]*\n).*?(?=^-- name: |\Z)",
            lambda found: f"{found[1]}{self.sql};\n\n",
            text_of(self.file),
        )


def text_of(file: str) -> str:
    """Return the file of named queries."""
    return (files("emag_syncd.storage") / "sql" / f"{file}.sql").read_text()


def mutants(file: str, *only: str) -> Iterator[Mutant]:
    """Return the mutants of a file's queries, or of those that are named."""
    for part in re.split(r"(?m)^-- name: ", text_of(file))[1:]:
        heading, _, body = part.partition("\n")
        query = re.sub(r"\W", "", heading)
        if only and query not in only:
            continue
        tree = sqlglot.parse_one(body, read="postgres")
        seen = {_sql(tree)}
        for number, node in enumerate(tree.walk()):
            for choice, (change, _) in enumerate(_changes(node)):
                copy = tree.copy()
                _changes(next(islice(copy.walk(), number, None)))[choice][1]()
                if (changed := _sql(copy)) not in seen:
                    seen.add(changed)
                    yield Mutant(file, query, change, changed)


def _changes(node: exp.Expr) -> list[Change]:
    """Return what can be changed at this place, each with what does it."""
    changes: list[Change] = []
    if isinstance(node, exp.And | exp.Or):
        changes += [(f"only {_short(one)}", partial(node.replace, one)) for one in (node.left, node.right)]
    elif type(node) in TURNED:
        changes.append((f"turn {_short(node)}", partial(_turn, node)))
    elif isinstance(node, exp.Not | exp.Coalesce):
        changes.append((f"only {_short(node.this)}", partial(node.replace, node.this)))
    elif isinstance(node, DROPPED) or (isinstance(node, exp.EQ) and node.arg_key == "expressions"):
        changes.append((f"no {_short(node)}", node.pop))
    if isinstance(node, exp.Lock) and node.args.get("wait") is not None:
        changes.append((f"wait {_short(node)}", partial(node.set, "wait", None)))
    return changes


def _turn(node: exp.Expr) -> None:
    node.replace(TURNED[type(node)](this=node.this, expression=node.args["expression"]))


def _short(node: exp.Expr) -> str:
    return " ".join(_sql(node).split())[:160]


def _sql(tree: exp.Expr) -> str:
    # aiosql's own form of parameters.
    return re.sub(r"%\((\w+)\)s", r":\1", tree.sql("postgres", comments=False))
