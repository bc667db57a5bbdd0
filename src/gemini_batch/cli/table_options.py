"""The options that make requests of a table; ``create``, ``run`` and ``prepare`` share them."""

from __future__ import annotations

import click

from gemini_batch.cli.common import Number

TABLE = (
    click.option(
        "--prompt",
        "-p",
        metavar="TEXT",
        help="What to ask of each row of a table; {{ column }} stands for a value. Makes INPUT a table.",
    ),
    click.option("--prompt-file", metavar="FILE", type=click.Path(), help="The same from a file."),
    click.option("--system", metavar="TEXT", help="System instruction; a template as well."),
    click.option(
        "--request-file",
        metavar="FILE",
        type=click.Path(),
        help="TOML file with prompt, examples, tools and any setting of the service.",
    ),
    click.option(
        "--schema", metavar="FILE|MODULE:MODEL", help="Schema of the answers; they are checked, and become columns."
    ),
    click.option(
        "--schema-field",
        type=click.Choice(["auto", "responseSchema", "responseJsonSchema"]),
        help="The field that tells the service the schema (default auto).",
    ),
    click.option(
        "--attach",
        metavar="COLUMN|TEMPLATE",
        multiple=True,
        help="Image, PDF, audio or video for each row: a column of paths or URLs, or a template.",
    ),
    click.option(
        "--attach-root",
        metavar="DIR",
        multiple=True,
        type=click.Path(),
        help="Allow attachments from DIR, besides those below the table's folder.",
    ),
    click.option(
        "--key", metavar="COLUMN", multiple=True, help="Column that identifies a row; by default, its request does."
    ),
    click.option(
        "--key-duplicates",
        type=click.Choice(["error", "number"]),
        help="number: give rows with the same key a number.",
    ),
    click.option(
        "--kind",
        type=click.Choice(["text", "embed", "image", "speech"]),
        help="What the answers are (default text).",
    ),
    click.option("--temperature", type=Number(0, 2), metavar="T", help="Temperature of the answers."),
    click.option("--max-output-tokens", type=click.IntRange(min=1), metavar="N", help="Maximum tokens of an answer."),
    click.option("--thinking", metavar="LEVEL|TOKENS", help="minimal, low, medium, high, off, auto, or a budget."),
    click.option(
        "--tool",
        "tools",
        metavar="NAME",
        multiple=True,
        help="Built-in tool: google-search, url-context, code-execution or google-maps.",
    ),
    click.option(
        "--set", metavar="PATH=VALUE", multiple=True, help="Any other setting, for example topK=40; may be a template."
    ),
    click.option("--dimensions", type=click.IntRange(min=1), metavar="N", help="Length of an embedding."),
    click.option("--aspect-ratio", metavar="W:H", help="Aspect ratio of an image."),
    click.option("--voice", metavar="NAME", help="Prebuilt voice, for example Kore."),
    click.option("--as", "prefix", metavar="NAME", help="Begin the names of the new columns with NAME_."),
    click.option("--sql", metavar="QUERY", help="Select the rows: \"select … from 'reviews.parquet'\"."),
    click.option("--encoding", metavar="NAME", help="Encoding of a CSV file (default: detected)."),
    click.option("--delimiter", metavar="CHAR", help="Delimiter of a CSV file (default: detected)."),
)
