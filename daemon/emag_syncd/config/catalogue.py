"""Every setting there is, read off the model: for names, for messages, and for who else lists them."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from emag_syncd.config.model import Configuration

ENV_PREFIX = "EMAG_SYNCD_"
ANY_ACCOUNT = "NAME"

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. The ``path`` of an account's has ``NAME`` for the account."""

    path: Path
    field: FieldInfo

    @property
    def name(self) -> str:
        """The dotted name."""
        return ".".join(self.path)

    @property
    def secret(self) -> bool:
        """Whether the value must not be shown."""
        return any(_is_secret(kind) for kind in _kinds(self.field.annotation))

    @property
    def allowed(self) -> str:
        """What the value may be, where that is a matter of type and range."""
        kinds = list(_kinds(self.field.annotation))
        if bool in kinds:
            return "true or false"
        if choices := [choice for kind in kinds for choice in _choices(kind)]:
            return "one of " + ", ".join(f'"{choice}"' for choice in choices)
        if int in kinds or float in kinds:
            return f"a {'whole ' if int in kinds else ''}number {self._range()}"
        return "a list of texts" if any(get_origin(kind) is tuple for kind in kinds) else "a text"

    def _range(self) -> str:
        low = high = ""
        for limit in self.field.metadata:
            match limit:
                case Ge(ge=value):
                    low = f"from {plain(value)} "
                case Gt(gt=value):
                    low = f"above {plain(value)}, "
                case Le(le=value):
                    high = f"to {plain(value)}" if low.startswith("from") else f"up to {plain(value)}"
        return low + high


@cache
def settings() -> dict[Path, Setting]:
    """Return every setting by its path."""
    return {setting.path: setting for setting in _walk(Configuration, ())}


def find(path: Path) -> Setting | None:
    """Return the setting at ``path``, where an account's name may stand for itself."""
    return settings().get(_of_any_account(path))


def did_you_mean(path: Path) -> str:
    """Return the dotted name of the setting that ``path`` was probably meant to be, or an empty text."""
    general = _of_any_account(path)
    names = {setting.name: setting.path for setting in settings().values()}
    same_end = [
        name
        for name, known in names.items()
        if known[-1] == general[-1] and (known[0] == general[0] or len(general) == 1)
    ]
    close = same_end or get_close_matches(".".join(general), names, n=1, cutoff=0.75)
    sections = get_close_matches(general[0], {known[0] for known in names.values()}, n=1)
    if not close:
        return sections[0] if sections and len(path) == 1 else ""
    found = close[0]
    return found.replace(ANY_ACCOUNT, path[1], 1) if general[1:2] == (ANY_ACCOUNT,) else found


def variable(path: Path) -> str:
    """Return the environment variable that sets ``path``."""
    return ENV_PREFIX + "__".join(path).replace("-", "_").upper()


def plain(value: Any) -> str:
    """Return a value as a person would write it."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _of_any_account(path: Path) -> Path:
    return (path[0], ANY_ACCOUNT, *path[2:]) if path[0] == "accounts" and len(path) > 1 else path


def _walk(model: type[BaseModel], above: Path) -> Iterator[Setting]:
    for name, field in model.model_fields.items():
        path = (*above, name)
        annotation = field.annotation
        if get_origin(annotation) is dict:
            path, annotation = (*path, ANY_ACCOUNT), get_args(annotation)[1]
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from _walk(annotation, path)
        else:
            yield Setting(path, field)


def _kinds(annotation: Any) -> Iterator[Any]:
    """Yield the types that an annotation is made of."""
    if get_origin(annotation) in {Union, UnionType}:
        for part in get_args(annotation):
            yield from _kinds(part)
    elif hasattr(annotation, "__metadata__"):
        yield from _kinds(get_args(annotation)[0])
    else:
        yield annotation


def _is_secret(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, SecretStr)


def _choices(kind: Any) -> tuple[str, ...]:
    if get_origin(kind) is Literal:
        return get_args(kind)
    return tuple(str(member.value) for member in kind) if isinstance(kind, type) and issubclass(kind, Enum) else ()
