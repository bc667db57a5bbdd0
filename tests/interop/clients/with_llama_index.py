"""llama-index: each row completed, once whole and once as a stream; and its embeddings. It has no batches."""

import json
import os
import sys

from llama_index.embeddings.google_genai import GoogleGenAIEmbedding  # type: ignore[import-not-found]
from llama_index.llms.google_genai import GoogleGenAI  # type: ignore[import-not-found]


def main() -> None:
    rows = json.load(sys.stdin)
    place = {"http_options": {"base_url": os.environ["GOOGLE_GEMINI_BASE_URL"]}}
    model = GoogleGenAI(model="gemini-3.8-flash")
    answers = {row["key"]: str(model.complete(row["text"])) for row in rows}
    for row in rows:
        assert str(list(model.stream_complete(row["text"]))[-1]) == answers[row["key"]]
    embed = GoogleGenAIEmbedding(model_name="gemini-embedding-001", **place)
    assert [len(one) for one in embed.get_text_embedding_batch(["One.", "Two."])] == [3072, 3072]
    json.dump(answers, sys.stdout)


main()
