#!/bin/sh
# The rows of a query, joined and filtered before anything is paid; then an embedding of each answer.
set -eu
gemini-batch run --sql "
    select p.id, p.name, count(*) as reviews, string_agg(r.text, '; ') as texts
    from 'products.csv' p join 'reviews.csv' r on r.product = p.id
    group by all having count(*) > 1 order by p.id
  " --prompt "Sum up {{ reviews }} reviews of {{ name }}: {{ texts }}" --key id -o summaries.parquet
gemini-batch run summaries.parquet --kind embed --prompt "{{ text }}" --dimensions 256 --as summary -o vectors.parquet
