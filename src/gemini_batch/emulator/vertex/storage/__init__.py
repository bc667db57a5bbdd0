"""Cloud Storage's JSON API, as far as its Python client and batch prediction need it."""
