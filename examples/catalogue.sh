#!/bin/sh
# A catalogue, each night: a description of each product, then an embedding of it. Only what is new or changed is sent.
# Exit code 1 of the first command says that some rows have a problem; they pass through the second one as skipped.
set -eu
cat > product.json <<'END'
{"type": "object", "required": ["title", "description", "tags"], "properties": {
  "title": {"type": "string"}, "description": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}}}
END
gemini-batch run "${1:-products.parquet}" --prompt "Describe our {{ name }} ({{ features }})." --attach picture \
  --schema product.json --key sku -o described.parquet || [ $? -eq 1 ]
gemini-batch run described.parquet --kind embed --prompt "{{ name }}: {{ description }}" --dimensions 256 \
  --key sku --as text -o catalogue.parquet
