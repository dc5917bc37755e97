"""Writes what follows from the typed settings: config.yaml, its JSON schema and docs/settings.md.

    python -m facerecon.settings_documents .

writes the three below the repository given (`make settings`); a test fails when they differ from the settings.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from facerecon.settings import Settings

CONFIG_FILE = "config.yaml"
SCHEMA_FILE = "workflow/schemas/config.schema.json"
PAGE_FILE = "docs/settings.md"
_WIDTH = 116

_CONFIG_HEADER = f"""\
# yaml-language-server: $schema={SCHEMA_FILE}
#
# The default run: the open face model and synthetic photographs, sized for two CPU cores.
# Every setting with its default, written by `make settings`: to change a run, write a recipe (see recipes/) with just
# the keys that differ and run `snakemake --cores all --configfile recipes/mine.yaml`.
"""

_PAGE_HEADER = """\
# Settings

Written from `src/facerecon/settings.py` by `make settings`. `config.yaml` holds every setting with its default; a
recipe overrides some (`snakemake --cores all --configfile recipes/tiny.yaml`), and so does `--config` on the command
line. Unknown keys are refused before anything runs.
"""


def documents() -> dict[str, str]:
    """Path below the repository -> text, of every file that follows from the settings."""
    return {CONFIG_FILE: config_text(), SCHEMA_FILE: schema_text(), PAGE_FILE: page_text()}


def config_text() -> str:
    """The documented default configuration, YAML."""
    return _CONFIG_HEADER + "\n".join(_config_lines(Settings())) + "\n"


def schema_text() -> str:
    """JSON schema of a configuration, for editors."""
    return json.dumps(Settings.model_json_schema(), indent=2) + "\n"


def page_text() -> str:
    """docs/settings.md: one table a section."""
    return _PAGE_HEADER + "".join(_page_sections(Settings(), ""))


def write_documents(repository: Path) -> None:
    """Write all documents below `repository`."""
    for name, text in documents().items():
        path = repository / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _config_lines(section: BaseModel, indent: int = 0) -> Iterator[str]:
    margin = " " * indent
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if indent == 0:
            yield ""
        if isinstance(value, BaseModel):
            yield f"{margin}# {_description(field)}"
            yield f"{margin}{name}:"
            yield from _config_lines(value, indent + 2)
            continue
        line = f"{margin}{name}: {_inline_yaml(value)}"
        if len(line) + len(_description(field)) < _WIDTH:
            yield f"{line}  # {_description(field)}"
        else:
            yield from (f"{margin}# {_description(field)}", line)


def _page_sections(section: BaseModel, prefix: str) -> Iterator[str]:
    properties = type(section).model_json_schema(mode="serialization")["properties"]
    rows, nested = [], []
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            nested.append((f"{prefix}{name}", field, value))
        else:
            cells = (f"`{name}`", _allowed(properties[name]), f"`{_inline_yaml(value)}`", _description(field))
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    if rows:
        yield "\n| setting | allowed | default | meaning |\n|---|---|---|---|\n"
        yield from rows
    for path, field, value in nested:
        yield f"\n## {path}\n\n{_description(field)[0].upper()}{_description(field)[1:]}.\n"
        yield from _page_sections(value, f"{path}.")


def _description(field: FieldInfo) -> str:
    if field.description:
        return field.description
    documented = (getattr(field.annotation, "__doc__", None) or "").strip().splitlines()
    return documented[0].rstrip(".") if documented else ""


def _allowed(schema: Mapping[str, Any]) -> str:
    """What a JSON schema property admits, in words."""
    if "anyOf" in schema:
        return " or ".join(_allowed(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_allowed(schema['items'])}"
    if schema.get("type") == "object":
        return "mapping of names"
    words = {
        "integer": "whole number",
        "number": "number",
        "boolean": "true or false",
        "string": "text",
        "null": "empty",
    }
    bounds = [
        f"{sign} {schema[key]}"
        for key, sign in (("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<="), ("exclusiveMaximum", "<"))
        if key in schema
    ]
    return " ".join([words.get(schema.get("type", ""), "see code"), ", ".join(bounds)]).strip()


def _inline_yaml(value: object) -> str:
    if value is None:
        return "null"
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("\n").removesuffix("...").strip()


if __name__ == "__main__":
    write_documents(Path(sys.argv[1]))
